//! How fast it starts, and how fast much flows.

use crate::data::Data;
use crate::pair::{Pairs, timed};
use crate::table::{Bar, Table};
use std::io;

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    let time = |ours: &str, theirs: &str, runs: usize| {
        data.pairs(ours, theirs, runs).map(|pairs| (pairs.time(), pairs.show()))
    };
    let speed = |ours: &str, theirs: &str, runs: usize| {
        data.pairs(ours, theirs, runs)
            .map(|pairs| (pairs.speed(), pairs.show()))
    };

    table.row(
        "`cl-spawn x -- true`, time of `timeout 10 true`",
        Bar::AtMost(1.5),
        || {
            let (ours, theirs) = (["cl-spawn", "x", "--", "true"], ["timeout", "10", "true"]);
            let pairs = Pairs::run(
                data.runs(300),
                || timed(data.command(&ours)),
                || timed(data.command(&theirs)),
            )?;
            Ok((pairs.time(), pairs.show()))
        },
    );

    // Read as claude's lines, for that is what they are; and so it ends as if their results were its own.
    let spawn = |file: &str| format!("cl-spawn x -- cat {file} > /dev/null; true");
    table.row(
        "`cl-spawn x -- cat big`, speed of `cat big \\| cat`",
        Bar::AtLeast(0.4),
        || speed(&spawn("big.ndjson"), "cat big.ndjson | cat > /dev/null", 15),
    );
    table.row("the same, passed on unread", Bar::AtLeast(0.4), || {
        speed(
            "cl-spawn x --agent plain -- cat big.ndjson > /dev/null",
            "cat big.ndjson | cat > /dev/null",
            9,
        )
    });
    table.row("the same, speed of `parallel --lb --tag`", Bar::AtLeast(2.0), || {
        data.needs("parallel")?;
        speed(
            &spawn("middle.ndjson"),
            "parallel --lb --tag cat ::: middle.ndjson > /dev/null",
            5,
        )
    });
    table.row("the same, speed of `ts`", Bar::None, || {
        data.needs("ts")?;
        speed(&spawn("small.ndjson"), "cat small.ndjson | ts %.s > /dev/null", 5)
    });
    table.row("the same, speed of `jq -c '{cl:…}+.'`", Bar::AtLeast(30.0), || {
        data.needs("jq")?;
        let jq = r#"cat small.ndjson | jq -c '{cl:{stream:"x",seq:input_line_number,ts:now}}+.' > /dev/null"#;
        speed(&spawn("small.ndjson"), jq, 3)
    });

    table.row(
        "`cl-merge` of 8 stamped FIFOs, speed of `cat`",
        Bar::AtLeast(0.8),
        || {
            let feed = "for i in 1 2 3 4 5 6 7 8; do cat stamped$i.ndjson > fifo$i & done";
            let of = |what: &str| {
                format!("{feed}; {what} fifo1 fifo2 fifo3 fifo4 fifo5 fifo6 fifo7 fifo8 > /dev/null; wait")
            };
            speed(&of("cl-merge"), &of("cat"), 15)
        },
    );

    let copy = |tee: &str| {
        format!(
            "rm -f {0}; cat big.ndjson | {tee} {0} | cat > /dev/null",
            data.scratch("1 2 3 4")
        )
    };
    table.row(
        "`cl-tee` to 4 files and a pipe, time of `tee`",
        Bar::AtMost(1.0),
        || time(&copy("cl-tee"), &copy("tee"), 9),
    );
    table.row(
        "`cl-tee` with a stopped reader, time of `tee` with a willing one",
        Bar::AtMost(1.0),
        || {
            // The reader takes nothing and goes when all others have everything; with it tee would never end.
            let begin = "rm -f slow done; mkfifo slow done;";
            let ours = format!(
                "{begin} {{ read -r < done; }} < slow & \
                 cat middle.ndjson | cl-tee -p slow | {{ cat > /dev/null; echo > done; }}; wait"
            );
            let theirs = format!(
                "{begin} {{ cat > /dev/null; echo > done; }} < slow & \
                 cat middle.ndjson | tee slow | {{ cat > /dev/null; read -r < done; }}; wait"
            );
            time(&ours, &theirs, 9)
        },
    );

    table.row("`cl-progress` in a pipe, speed of `pv -q`", Bar::AtLeast(0.8), || {
        data.needs("pv")?;
        let of = |what: &str| format!("cat stamped*.ndjson | {what} 2> /dev/null | cat > /dev/null");
        speed(&of("cl-progress"), &of("pv -q"), 9)
    });
    Ok(())
}
