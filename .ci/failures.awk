# What failed in the output of a suite or a check, in few lines: after "FAILED: SUITE: " a line for each failure, and
# below it the first lines of its error. Vitest heads them " FAIL  file > test" (one error may have several such
# heads) and says of errors outside of a test what they are; the soak has its ledger, the compiler and the linter lines
# of their own. If there is nothing of the kind, the last lines before the closing line must do.
# usage: awk -v suite=NAME -v status=EXIT_STATUS -f failures.awk OUTPUT

# Lines of an error that are shown, and of an output that has none.
BEGIN { SHOWN = 6; LAST = 8 }

{
  gsub(/\033(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])/, "")
  gsub(/[\r\033]/, "")
}

/^[[:space:]]*$/ || /^npm / { next }

# The line of a failure, before so many more that tell of it.
function head(text, lines) {
  print "FAILED: " suite ": " substr(text, 1, 300)
  left = lines
  found = 1
}

/^ *FAIL  / { sub(/^ *FAIL  /, ""); head($0, SHOWN); next }
/^(⎯)+ (Unhandled|Uncaught) [A-Za-z]*[^s] ⎯/ { gsub(/⎯/, ""); sub(/^ +/, ""); sub(/ +$/, ""); head($0, SHOWN); next }
/^LEDGER: |^SILENCE: |^all( +[0-9]+)+ +[1-9][0-9]*$|error TS[0-9]+: / { head($0, 0); next }
/^uncaught errors: [1-9]| (lint|assist)\/[a-zA-Z\/]+ ━/ { head($0, SHOWN); next }
/^⎯/ { left = 0; next }
left > 0 { print "    " substr($0, 1, 300); left--; next }
/^[0-9]+ passed, [0-9]+ failed/ { next }
{ last[n++ % LAST] = $0 }

END {
  if (found) exit
  print "FAILED: " suite ": exit status " status
  for (i = n > LAST ? n - LAST : 0; i < n; i++) print "    " substr(last[i % LAST], 1, 300)
}
