//! The sinks in `chandler status`.

use std::time::SystemTime;

use super::{counted, since};
use crate::admin::rows::SinkRow;
use crate::cli::table::{Cell, Table, Tone};

/// A row for each, and below what cannot be as wanted; nothing where there is none.
pub(super) fn tables(sinks: &[SinkRow], now: SystemTime, colours: bool) -> String {
    if sinks.is_empty() {
        return String::new();
    }
    let heads = ["SINK", "UP", "WRITER", "REGISTRIES", "OBJECTS", "PENDING", "FAILING", "IN STEP", "PROBLEM"];
    let mut table = Table::new(&heads, colours);
    for s in sinks {
        let in_step = s.last_success.as_deref().map_or("never".into(), |t| since(t, now));
        table.push(vec![
            s.name.as_str().into(),
            if s.up { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Bad) },
            writer(s),
            s.registries.join(",").into(),
            s.wanted.to_string().into(),
            counted(s.pending, Tone::Doubtful),
            counted(s.failing, Tone::Bad),
            // Whoever does not write cannot know.
            if s.writer { in_step } else { String::new() }.into(),
            s.problem.as_deref().unwrap_or_default().into(),
        ]);
    }
    let mut out = format!("\n{}", table.flush());
    if sinks.iter().any(|s| !s.failures.is_empty()) {
        let mut table = Table::new(&["FAILING", "OBJECT", "REASON"], colours);
        for (sink, failure) in sinks.iter().flat_map(|s| s.failures.iter().map(move |f| (s, f))) {
            table.push(vec![
                sink.name.as_str().into(),
                failure.object.as_str().into(),
                failure.reason.as_str().into(),
            ]);
        }
        out.push_str(&format!("\n{}", table.flush()));
    }
    out
}

/// Whether the sinks are as they should be. Another's writing is as good as ours.
pub(super) fn are_well(sinks: &[SinkRow]) -> bool {
    sinks.iter().all(|s| s.up && s.failing == 0)
}

fn writer(s: &SinkRow) -> Cell {
    match (&s.holder, s.writer) {
        (_, true) => Cell::toned("this one", Tone::Good),
        (Some(holder), false) => holder.as_str().into(),
        (None, false) => Cell::toned("nobody", Tone::Doubtful),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::rows::SinkFailure;

    fn row() -> SinkRow {
        SinkRow {
            name: "cluster".into(),
            up: true,
            holder: Some("pod-b".into()),
            registries: vec!["prod".into()],
            wanted: 7,
            ..SinkRow::default()
        }
    }

    #[test]
    fn a_sink_shows_who_writes_and_what_cannot_be_written() {
        let (writes, waits) = (SinkRow { writer: true, ..row() }, row());
        let reason = "an object of that name is there";
        let failures = vec![SinkFailure { object: "ServiceEntry mesh/web".into(), reason: reason.into() }];
        let fails = SinkRow { failing: 1, failures, ..row() };
        let text = tables(&[writes.clone(), waits, fails.clone()], SystemTime::now(), false);
        let line = |n: usize| text.lines().nth(n).unwrap();
        assert!(line(2).contains("this one") && line(3).contains("pod-b"), "{text}");
        assert!(text.lines().last().unwrap().contains(reason), "{text}");
        assert!(are_well(&[writes]) && !are_well(&[fails]));
        assert_eq!(tables(&[], SystemTime::now(), false), "");
    }
}
