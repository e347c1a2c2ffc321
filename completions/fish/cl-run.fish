complete -c cl-run -s j -l jobs -d 'How many streams run at once; 0 is one a core [default: as the plan says]' -r
complete -c cl-run -l run -d 'The run\'s folder, which is made [default: a new one in $XDG_STATE_HOME/cl/runs]' -r -F
complete -c cl-run -l resume -d 'Go on with the run in this folder' -r -F
complete -c cl-run -l add -d 'Add the streams of PLAN to the run in this folder, which may be running' -r -F
complete -c cl-run -l max-streams -d 'Refuse additions beyond so many streams in all' -r
complete -c cl-run -l max-depth -d 'Refuse additions by streams that were added themselves, beyond so many steps; 0 refuses all' -r
complete -c cl-run -l max-cost -d 'Stop what runs once the streams that have ended have cost so many US dollars' -r
complete -c cl-run -l max-time -d 'Stop what runs after so long; 0 is never' -r
complete -c cl-run -l joblog -d 'Append a line for each stream that has ended, in the columns of GNU parallel\'s --joblog' -r -F
complete -c cl-run -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-run -s k -l keep-going -d 'Go on with what does not build on a stream that failed'
complete -c cl-run -s n -l dry-run -d 'Print what would be started, in the order of the start, and start nothing'
complete -c cl-run -l undo -d 'When the plan is not met, take back what ended well, the last to end first'
complete -c cl-run -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-run -s V -l version -d 'Print version'
