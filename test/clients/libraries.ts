/** Python's poplib and Perl's Net::POP3: what other people's scripts are made of. */
import { ALL_MAILBOXES, type Client } from './client.js';
import { mustRun } from './programs.js';
import { passwordOf, type RunningServer } from './server.js';

/** Prints `LENGTH\n` and the octets of each message, or removes the messages named. */
const POPLIB = `
import poplib, ssl, sys
# By itself it gives up at lines of more than 2,048 octets.
poplib._MAXLINE = 1 << 20
port, how, ca, user, password, *numbers = sys.argv[1:]
context = ssl.create_default_context(cafile=ca) if ca else None
if how == 'implicit':
    pop = poplib.POP3_SSL('localhost', int(port), timeout=20, context=context)
else:
    pop = poplib.POP3('localhost' if ca else '127.0.0.1', int(port), timeout=20)
if how == 'stls':
    assert 'STLS' in pop.capa()
    pop.stls(context=context)
    assert 'STLS' not in pop.capa()
pop.user(user)
pop.pass_(password)
count, total = pop.stat()
assert len(pop.list()[1]) == len(pop.uidl()[1]) == count
for n in numbers:
    pop.dele(int(n))
if not numbers:
    octets = 0
    for n in range(1, count + 1):
        _, lines, size = pop.retr(n)
        message = b''.join(line + b'\\r\\n' for line in lines)
        octets += len(message)
        sys.stdout.buffer.write(b'%d\\n%s' % (len(message), message))
    assert octets == total, (octets, total)
pop.quit()
`;

const NET_POP3 = `
use strict; use warnings; use Net::POP3;
my ($port, $how, $ca, $user, $password, @numbers) = @ARGV;
binmode STDOUT;
my @trust = (SSL_ca_file => $ca, SSL_verifycn_name => 'localhost');
my @tls = $how eq 'implicit' ? (SSL => 1, @trust) : ();
my $pop = Net::POP3->new('127.0.0.1', Port => $port, Timeout => 20, @tls) or die "no connection: $@";
if ($how eq 'stls') { $pop->starttls(@trust) or die "STLS: " . $pop->message }
my $count = $pop->login($user, $password);
defined $count or die "login: " . $pop->message;
for my $n (@numbers) { $pop->delete($n) or die "DELE $n: " . $pop->message }
if (!@numbers) {
  for my $n (1 .. $count) {
    my $lines = $pop->get($n) or die "RETR $n: " . $pop->message;
    my $message = join '', @$lines;
    print length($message), "\\n", $message;
  }
}
$pop->quit or die "QUIT: " . $pop->message;
`;

function split(output: string): string[] {
  const messages = [];
  for (let at = 0; at < output.length; ) {
    const lf = output.indexOf('\n', at);
    const end = lf + 1 + Number(output.slice(at, lf));
    messages.push(output.slice(lf + 1, end));
    at = end;
  }
  return messages;
}

function library(name: string, program: string, flag: string, script: string, form: 'wire' | 'lf'): Client {
  const talk = (server: RunningServer, user: string, numbers: readonly number[]) =>
    mustRun(program, [
      ...[flag, script, String(server.port), server.tls?.how ?? '', server.tls?.ca ?? ''],
      ...[user, passwordOf(user), ...numbers.map(String)],
    ]);
  return {
    name,
    programs: [program],
    form,
    mailboxes: ALL_MAILBOXES,
    removes: [1, 4, 16],
    download: async (server, user) => split(await talk(server, user, [])),
    remove: async (server, user, numbers) => {
      await talk(server, user, numbers);
    },
  };
}

export const PYTHON_POPLIB = library('Python poplib', 'python3', '-c', POPLIB, 'wire');
export const PERL_NET_POP3 = library('Perl Net::POP3', 'perl', '-e', NET_POP3, 'lf');
