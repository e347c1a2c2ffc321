complete -c cl-wait -l any -d 'N streams must end well, of those that are not needed by name (1)' -r
complete -c cl-wait -l need -d 'This stream must end well; repeatable, or a comma list' -r
complete -c cl-wait -l expect -d 'The streams that count, as a comma list: they must appear, and others do not count' -r
complete -c cl-wait -l grace -d 'Once all needed ones are there, how long to wait for the --any (15s, or as the plan says)' -r
complete -c cl-wait -l turn -d 'A kept worker\'s turn counts as its stream\'s end: the next one, or its N-th' -r
complete -c cl-wait -s t -l timeout -d 'How long to wait at all; 0 is for ever' -r
complete -c cl-wait -l partial -d 'Say what is there so far, in a partial event, at most this often and when something is new' -r
complete -c cl-wait -s o -l output -d 'What to write at the end: json (the final event), text (the answers) or none' -r -f -a "json\t'The `final` event'
text\t'The answers'
none\t'Nothing'"
complete -c cl-wait -l exit-code-from -d 'Exit as that stream did, or its turn, where it has ended when the verdict is in' -r
complete -c cl-wait -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-wait -l all -d 'Every stream must end well (the default without --any, --need and --first)'
complete -c cl-wait -l first -d 'The first stream that ends well is enough'
complete -c cl-wait -l trust -d 'An end that nobody saw (unknown) counts as well'
complete -c cl-wait -l pass -d 'Copy the stream through to stdout, too'
complete -c cl-wait -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-wait -s V -l version -d 'Print version'
