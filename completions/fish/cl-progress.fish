complete -c cl-progress -l progress -d 'How to show it: auto, tty, plain, json or none' -r -f -a "auto\t'What fits the surroundings'
tty\t'A picture on the terminal'
plain\t'A line a change'
json\t'An object a change'
none\t'Nothing'"
complete -c cl-progress -s i -l interval -d 'How long a frame stands at least: 50ms or more' -r
complete -c cl-progress -s n -l lines -d 'How many lines of its last messages to show for each stream, room permitting' -r
complete -c cl-progress -l summary -d 'At the end, append the run to FILE as Markdown: a table, a chart, the answers folded' -r -F
complete -c cl-progress -l trace -d 'At the end, write to FILE what happened when, as ui.perfetto.dev opens it' -r -F
complete -c cl-progress -l html -d 'At the end, write the run to FILE as a page for a browser' -r -F
complete -c cl-progress -l agent -d 'How to read streams that do not say what agent writes them: claude, codex, gemini, qwen, opencode or plain' -r
complete -c cl-progress -l only -d 'Show only streams whose name fits; repeatable' -r
complete -c cl-progress -l color -d 'When to colour: auto (on a terminal, unless NO_COLOR is set), always or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is'
always\t'Always'
never\t'Never'"
complete -c cl-progress -l once -d 'Show the run as it is now on stdout, once, and end'
complete -c cl-progress -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cl-progress -s V -l version -d 'Print version'
