# CELL URL FILE: what the matrix of clients asks of LWP.
use strict;
use warnings;
use Digest::SHA;
use HTTP::Request;
use LWP::UserAgent;

$| = 1;
my ($cell, $url, $file) = @ARGV;
my $agent = LWP::UserAgent->new;
if ($cell eq "upload") {
    open my $in, "<:raw", $file or die "$file: $!";
    my $request = HTTP::Request->new(PUT => $url, ["Content-Length" => -s $file], sub { read($in, my $piece, 65536); $piece });
    my $answer = $agent->request($request);
    die $answer->as_string unless $answer->is_success;
} elsif ($cell eq "stream") {
    my $sha = Digest::SHA->new(256);
    my $answer = $agent->get($url, ":content_cb" => sub { $sha->add($_[0]) });
    die $answer->as_string unless $answer->is_success;
    print $sha->hexdigest, "\n";
} elsif ($cell eq "events") {
    $agent->get($url, ":content_cb" => sub { print $_[0] }, ":read_size_hint" => 16);
} else {
    print $agent->get($url)->as_string;
}
