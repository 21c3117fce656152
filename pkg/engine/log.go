package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// What a run meets is logged as structured lines: the message says what happened
// (see the Log constants), "destination" to whom, "why" for which reason, in the
// partner's words where there are any. Lines of single deliveries are at the level
// of Info, since there may be as many as there are events; what ends a lane is an
// error. The run itself is an attribute of every line.
const (
	LogRetry     = "retry"         // a request is sent again later
	LogPause     = "pause"         // the partner asked to be left alone for a while
	LogOpen      = "failing"       // the partner fails everything: single requests probe it from now on
	LogProbe     = "probe"         // such a request
	LogRecover   = "recovered"     // the partner answers again
	LogStop      = "stop"          // a lane, or the run, ends early
	LogLimit     = "limit"         // one that a lane keeps; at the level of Debug
	LogResume    = "resume"        // a lane goes on where an earlier process left it
	LogReadAgain = "reading again" // a lane's own reading of the source failed, and is tried again
	LogRejected  = "rejected"      // a delivery became a dead letter
	LogNoEvent   = "not an event"  // a record became a dead letter
)

// logs says whether a line of this level is wanted: making one costs something.
func (e *Engine) logs(level slog.Level) bool { return e.log.Enabled(context.Background(), level) }

func (l *lane) log(level slog.Level, what string, attrs ...slog.Attr) {
	l.e.log.LogAttrs(
		context.Background(),
		level,
		what,
		append([]slog.Attr{slog.String("destination", l.c.Name)}, attrs...)...)
}

// logLimits says which limits the lane keeps.
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

// logResume says where the lane goes on, if it does.
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

// logPause says that the partner wants the lane to wait.
func (l *lane) logPause(wait time.Duration) {
	if l.e.logs(slog.LevelInfo) {
		l.log(slog.LevelInfo, LogPause, slog.String("why", l.notes.problem), slog.Duration("for", wait))
	}
}

// logBreaker says that the partner fails everything from now on, or no longer does.
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

// logProbe says that a single request asks whether the partner is there again.
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

// logRejected says that a delivery has become a dead letter.
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

// logNoEvent says that a record has become a dead letter, of which there is one for
// all destinations.
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
