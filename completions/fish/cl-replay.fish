complete -c cl-replay -l speed -d 'How much faster than recorded; max leaves out all pauses' -r
complete -c cl-replay -l stream -d 'Which stream to play, where FILE holds several' -r
complete -c cl-replay -l exit -d 'End with this exit code instead of the recorded end' -r
complete -c cl-replay -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-replay -l no-exit -d 'End with 0 once all is played, however the recorded worker ended'
complete -c cl-replay -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-replay -s V -l version -d 'Print version'
