use super::*;

const OLD: i64 = 1;
const NEW: i64 = 2;
const THIRD: i64 = 3;

fn head(pid: i64) -> Place {
    Place {
        semaphore: 1,
        pid,
        is_head: true,
        wait: None,
    }
}

fn waits(pid: i64, wait: &str) -> Place {
    Place {
        is_head: false,
        wait: Some(wait.to_owned()),
        ..head(pid)
    }
}

/// In a wait that has just begun.
fn joins(pid: i64) -> Place {
    Place {
        is_head: false,
        ..head(pid)
    }
}

fn overtakings(looks: &[&[Place]]) -> Vec<String> {
    let mut order = Order::default();
    let look = |look: &&[Place]| order.look(look.iter().cloned());
    looks.iter().flat_map(look).collect()
}

fn assert_in_order(looks: &[&[Place]]) {
    assert_eq!(overtakings(looks), Vec::<String>::new());
}

#[test]
fn a_head_that_joined_later_has_overtaken() {
    let overtaking = ["backend 2 overtook 1 in the queue of 1"];
    let after = [head(NEW), waits(OLD, "a")];
    let seen_to_wait: &[&[Place]] = &[
        &[head(THIRD), waits(OLD, "a")],
        &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
        &after,
        &after,
    ];
    assert_eq!(overtakings(seen_to_wait), overtaking);
    let not_seen_to_wait: &[&[Place]] = &[&[head(THIRD), waits(OLD, "a")], &after, &after];
    assert_eq!(overtakings(not_seen_to_wait), overtaking);
}

#[test]
fn a_head_that_joins_again_has_overtaken() {
    let looks: &[&[Place]] = &[
        &[head(NEW), waits(THIRD, "c"), waits(OLD, "a")],
        &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
        &[head(NEW), waits(OLD, "a")],
        &[head(NEW), waits(OLD, "a")],
    ];
    assert_eq!(
        overtakings(looks),
        ["backend 2 overtook 1 in the queue of 1"]
    );
}

#[test]
fn two_that_join_between_two_looks_are_in_order() {
    assert_in_order(&[
        &[head(THIRD)],
        &[head(THIRD), waits(OLD, "a"), joins(NEW)],
        &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
        &[head(NEW), waits(OLD, "a")],
        &[head(NEW), waits(OLD, "a")],
    ]);
}

#[test]
fn a_waiter_that_joined_again_was_not_there_before() {
    // By another call, or in the same one after a deadlock.
    assert_in_order(&[
        &[head(THIRD), waits(OLD, "a")],
        &[head(THIRD), waits(NEW, "b"), waits(OLD, "c")],
        &[head(NEW), waits(OLD, "c")],
        &[head(NEW), waits(OLD, "c")],
    ]);
}

#[test]
fn a_wait_without_a_start_may_be_a_former_one() {
    assert_in_order(&[
        &[head(THIRD), joins(OLD)],
        &[head(NEW), waits(OLD, "b")],
        &[head(NEW), waits(OLD, "b")],
    ]);
    assert_in_order(&[
        &[head(THIRD), waits(OLD, "a")],
        &[head(NEW), joins(OLD)],
        &[head(NEW), waits(OLD, "b")],
    ]);
}

#[test]
fn a_wait_may_show_the_start_of_a_former_one_for_a_moment() {
    assert_in_order(&[
        &[head(THIRD), waits(OLD, "a")],
        &[head(NEW), waits(OLD, "a")],
        &[head(NEW), waits(OLD, "b")],
    ]);
    assert_in_order(&[
        &[head(THIRD), waits(NEW, "stale"), waits(OLD, "a")],
        &[head(THIRD), waits(NEW, "b"), waits(OLD, "a")],
        &[head(NEW), waits(OLD, "a")],
        &[head(NEW), waits(OLD, "a")],
    ]);
}

#[test]
fn looks_whose_rows_are_not_of_one_time_leave_doubt() {
    let overtakings = |looks: &[&[Place]]| -> Vec<String> {
        let mut order = Order {
            doubt: 1,
            ..Order::default()
        };
        let look = |look: &&[Place]| order.look(look.iter().cloned());
        looks.iter().flat_map(look).collect()
    };
    let after: &[Place] = &[head(NEW), waits(OLD, "a")];
    let served: &[Place] = &[Place {
        is_head: true,
        ..waits(OLD, "a")
    }];
    let (one, both): (&[Place], &[Place]) = (
        &[head(THIRD), waits(OLD, "a")],
        &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
    );
    assert_eq!(overtakings(&[one, both, after, served]), [""; 0]);
    let overtaking = ["backend 2 overtook 1 in the queue of 1"];
    assert_eq!(overtakings(&[one, one, both, after, served]), overtaking);
    // A look may lack a session whose row is changing.
    assert_eq!(
        overtakings(&[both, both, one, one, both, after, served]),
        overtaking
    );
    assert_eq!(overtakings(&[both, both, one, after, served]), [""; 0]);
    // The time of the other one may be over.
    assert_eq!(overtakings(&[one, one, both, after, after]), [""; 0]);
    let long = [&[one, one, both][..], &[after; 500]].concat();
    assert_eq!(overtakings(&long), overtaking);
}

#[test]
fn queues_of_different_semaphores_are_apart() {
    let other = |place: Place| Place {
        semaphore: 2,
        ..place
    };
    assert_in_order(&[
        &[waits(OLD, "a")],
        &[waits(OLD, "a"), other(head(NEW))],
        &[waits(OLD, "a"), other(head(NEW))],
    ]);
}
