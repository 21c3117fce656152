package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// The events of a run are logged as structured lines: the message says what happened (see the Log constants),
// "destination" where, and "why" the reason, in the partner's words if there are any. Lines about single
// deliveries have level Info, because there may be as many as there are events; what ends a lane is an error. The
// run is an attribute of every line.
const (
	LogRetry     = "retry"         // a request is sent again later
	LogPause     = "pause"         // the partner asked us to wait
	LogOpen      = "failing"       // the partner fails everything: from now on single requests probe it
	LogProbe     = "probe"         // such a probe
	LogRecover   = "recovered"     // the partner answers again
	LogStop      = "stop"          // a lane, or the run, ends early
	LogLimit     = "limit"         // a limit that a lane keeps; at level Debug
	LogResume    = "resume"        // a lane goes on where an earlier process left it
	LogReadAgain = "reading again" // a lane's own reading of the source failed, and is tried again
	LogRejected  = "rejected"      // a delivery became a dead letter
	LogNoEvent   = "not an event"  // a record became a dead letter
)

// logs says whether a line of this level is wanted, because building one costs time.
func (e *Engine) logs(level slog.Level) bool { return e.log.Enabled(context.Background(), level) }

func (l *lane) log(level slog.Level, what string, attrs ...slog.Attr) {
	l.e.log.LogAttrs(
		context.Background(),
		level,
		what,
		append([]slog.Attr{slog.String("destination", l.c.Name)}, attrs...)...)
}

// logLimits logs the limits that the lane keeps.
func (l *lane) logLimits(o Options) {
	if !l.e.logs(slog.LevelDebug) {
		return
	}
	for _, k := range Keeps(l.plan, o) {
		l.log(slog.LevelDebug, LogLimit, slog.String("why", k.Docs), slog.String("action", k.Action),
			slog.String("what", k.What),
			slog.Float64("n", k.N), slog.Duration("per", k.Per))
	}
}

// logResume logs where the lane resumes, if it does.
func (l *lane) logResume() {
	m := l.ledger.resumed.Mark
	if (m.Ordinal > 0 || l.ledger.base.Requests > 0) && l.e.logs(slog.LevelInfo) {
		l.log(
			slog.LevelInfo,
			LogResume,
			slog.String("why", "an earlier process of the run came so far"),
			slog.Uint64("records", m.Ordinal),
			slog.String("position", m.Position.String()),
			slog.Int("in_doubt", len(l.ledger.doubt)),
		)
	}
}

// logPause logs that the partner asks the lane to wait.
func (l *lane) logPause(wait time.Duration) {
	if l.e.logs(slog.LevelInfo) {
		l.log(slog.LevelInfo, LogPause, slog.String("why", l.notes.problem), slog.Duration("for", wait))
	}
}

// logBreaker logs that the partner now fails everything, or has recovered.
func (l *lane) logBreaker(was, is breaker, now time.Time) {
	if was.probing() == is.probing() || !l.e.logs(slog.LevelInfo) {
		return
	}
	if is.probing() {
		l.log(
			slog.LevelInfo,
			LogOpen,
			slog.String("why", l.notes.problem),
			slog.Int("failures", is.failures),
			slog.Duration("probe_in", is.until.Sub(now)),
		)
		return
	}
	l.log(
		slog.LevelInfo,
		LogRecover,
		slog.String("why", "a probe was answered"),
		slog.Duration("after", now.Sub(was.since)),
	)
}

// logProbe logs that a single request probes whether the partner has recovered.
func (l *lane) logProbe(b *batch) {
	if l.e.logs(slog.LevelInfo) {
		l.log(
			slog.LevelInfo,
			LogProbe,
			slog.String("why", l.notes.problem),
			slog.Int("deliveries", len(b.works)),
			slog.Int("failures", l.pacer.breaker.failures),
		)
	}
}

// logRejected logs that a delivery has become a dead letter.
func (l *lane) logRejected(d *journal.DeadLetter) {
	if l.e.logs(slog.LevelInfo) {
		l.log(
			slog.LevelInfo,
			LogRejected,
			slog.String("why", destination.Cut(d.Detail, 200)),
			slog.String("reason", d.Reason),
			slog.Int("status", d.Status),
			slog.String("action", d.Action),
			slog.String("insert_id", d.InsertID),
			slog.Int("attempts", d.Attempts),
			slog.String("object", d.Object),
			slog.Int64("line", d.Line),
		)
	}
}

// logNoEvent logs that a record has become a dead letter; there is one for all destinations.
func (e *Engine) logNoEvent(bad *source.RecordError) {
	if e.logs(slog.LevelInfo) {
		e.log.LogAttrs(
			context.Background(),
			slog.LevelInfo,
			LogNoEvent,
			slog.String("destination", "all"),
			slog.String("why", bad.Detail),
			slog.String("reason", string(bad.Reason)),
			slog.String("object", bad.Object),
			slog.Int64("line", bad.Line),
			slog.Int64("offset", bad.Offset),
		)
	}
}
