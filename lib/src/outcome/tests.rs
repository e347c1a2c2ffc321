use super::*;
use crate::agent::{Fact, ResultFact};

fn evidence(end: End, account: &Account) -> Evidence<'_> {
    Evidence {
        end,
        stop: None,
        agent: false,
        prompts: None,
        account,
        whole: true,
        lines: 1,
        stderr: "",
    }
}

fn with_result(result: ResultFact) -> Account {
    let mut account = Account::default();
    account.add(&Fact::Init {
        session: None,
        model: None,
    });
    account.add(&Fact::Result(Box::new(result)));
    account
}

#[test]
fn commands_by_their_end() {
    let none = Account::default();
    for (end, outcome, code) in [
        (End::Exited(0), Outcome::Success, 0),
        (End::Exited(7), Outcome::Failed, 7),
        (End::Exited(143), Outcome::Killed, 143),
        (End::Signalled(9), Outcome::Killed, 137),
        (End::Unstartable(2), Outcome::Unstartable, 127),
        (End::Unstartable(13), Outcome::Unstartable, 126),
        (End::Unstartable(11), Outcome::Unstartable, 125),
        (End::Unseen, Outcome::Unknown, 1),
    ] {
        let judged = judge(&evidence(end, &none));
        assert_eq!(
            (judged.outcome, exit_code(judged.outcome, end, None)),
            (outcome, code),
            "{end:?}"
        );
    }
}

#[test]
fn our_own_stop_is_the_reason() {
    let none = Account::default();
    for (stop, outcome, code) in [
        (Stop::Timeout, Outcome::Timeout, 124),
        (Stop::Idle, Outcome::Idle, 124),
        (Stop::Signal(2), Outcome::Cancelled, 130),
        (Stop::Signal(15), Outcome::Cancelled, 143),
        (Stop::Downstream, Outcome::Cancelled, 141),
    ] {
        let end = End::Signalled(15);
        let judged = judge(&Evidence {
            stop: Some(stop),
            ..evidence(end, &none)
        });
        assert_eq!(
            (judged.outcome, exit_code(judged.outcome, end, Some(stop))),
            (outcome, code),
            "{stop:?}"
        );
    }
}

#[test]
fn agents_owe_a_result() {
    let good = ResultFact {
        subtype: "success".into(),
        ..ResultFact::default()
    };
    let agent = |end, account: &Account, whole| {
        judge(&Evidence {
            agent: true,
            whole,
            ..evidence(end, account)
        })
        .outcome
    };
    assert_eq!(
        agent(End::Exited(0), &with_result(good.clone()), true),
        Outcome::Success
    );
    let mut mute = Account::default();
    mute.add(&Fact::Thinking);
    assert_eq!(agent(End::Exited(0), &mute, true), Outcome::Incomplete);
    assert_eq!(
        agent(End::Exited(0), &with_result(good.clone()), false),
        Outcome::Truncated
    );
    assert_eq!(
        agent(
            End::Exited(1),
            &with_result(ResultFact {
                error: true,
                ..good.clone()
            }),
            true
        ),
        Outcome::Error
    );
    assert_eq!(
        agent(
            End::Exited(0),
            &with_result(ResultFact {
                error: true,
                ..good.clone()
            }),
            true
        ),
        Outcome::Error
    );
    let aborted = ResultFact {
        terminal_reason: Some("aborted_streaming".into()),
        error: true,
        ..good.clone()
    };
    assert_eq!(agent(End::Exited(0), &with_result(aborted), true), Outcome::Cancelled);
    let mut open = with_result(good.clone());
    open.add(&Fact::Background(vec!["b".into()]));
    assert_eq!(agent(End::Exited(0), &open, true), Outcome::Incomplete);
    let lingered = with_result(good);
    let judged = judge(&Evidence {
        agent: true,
        stop: Some(Stop::Linger),
        ..evidence(End::Signalled(15), &lingered)
    });
    assert_eq!(judged.outcome, Outcome::Success);
}

#[test]
fn an_error_is_told_by_whose_it_is() {
    let failed = |change: &dyn Fn(&mut ResultFact), before: &[Fact]| {
        let mut account = Account::default();
        before.iter().for_each(|fact| account.add(fact));
        let mut result = ResultFact {
            error: true,
            subtype: "success".into(),
            ..ResultFact::default()
        };
        change(&mut result);
        account.add(&Fact::Result(Box::new(result)));
        judge(&Evidence {
            agent: true,
            ..evidence(End::Exited(1), &account)
        })
        .outcome
    };
    for (status, outcome) in [
        (400, Outcome::Error),
        (401, Outcome::Auth),
        (403, Outcome::Auth),
        (404, Outcome::Error),
        (413, Outcome::Error),
        (429, Outcome::Unavailable),
        (500, Outcome::Unavailable),
        (529, Outcome::Unavailable),
    ] {
        assert_eq!(failed(&|r| r.api_status = Some(status), &[]), outcome, "{status}");
    }
    assert_eq!(
        failed(&|r| r.subtype = "error_max_turns".into(), &[]),
        Outcome::Exhausted
    );
    let retry = Fact::Retry {
        attempt: 5,
        max: Some(5),
        delay: 1.0,
        because: "no connection".into(),
    };
    assert_eq!(failed(&|_| {}, std::slice::from_ref(&retry)), Outcome::Unavailable);
    let text = Fact::Text {
        text: "x".into(),
        sub: false,
    };
    assert_eq!(failed(&|_| {}, &[retry, text]), Outcome::Error);
    let limit = |status: &str| Fact::Limit {
        status: status.into(),
        resets_at: Some(5.0),
        kind: None,
    };
    assert_eq!(
        failed(&|r| r.api_status = Some(429), &[limit("rejected")]),
        Outcome::Limit
    );
    assert_eq!(failed(&|_| {}, &[limit("allowed_warning")]), Outcome::Error);
    let key = Fact::Trouble("authentication_failed: Not logged in".into());
    assert_eq!(failed(&|_| {}, &[key]), Outcome::Auth);
}

#[test]
fn refused_before_it_began() {
    let account = Account::default();
    let refused = |stderr| {
        judge(&Evidence {
            agent: true,
            lines: 0,
            stderr,
            ..evidence(End::Exited(1), &account)
        })
    };
    let judged = refused("error: unknown option '--x'\n");
    assert_eq!(judged.outcome, Outcome::Error);
    assert_eq!(judged.because, "exit 1: error: unknown option '--x'");
    assert_eq!(refused("").outcome, Outcome::Failed);
    assert_eq!(refused("at f\nat g\nat h\nat i\n").outcome, Outcome::Failed);
}
