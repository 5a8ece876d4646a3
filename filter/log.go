package filter

import (
	"io"
	"iter"
	"slices"
	"time"

	"iocpipe/extract"
)

// A Log reads the lines of inputs as events in time, for whoever wants to know what they hold rather than pass them on.
type Log struct {
	Scanner extract.Scanner
	Policy  extract.Policy
	MaxLine int
	Apart   time.Duration // between lines that state no time
	Now     time.Time     // tells the year of lines that state none
}

// A LogEvent is what one line holds that is worth asking about.
type LogEvent struct {
	At      time.Duration // since the first line that states a time
	Keys    []extract.Key // each once
	Context extract.Context
}

// Events yields the lines with indicators, in the order of time: a line that goes back comes at the time of the one
// before it. It ends at the first error, which names the input. Lines over the limit are left out.
func (l *Log) Events(src Source) iter.Seq2[LogEvent, error] {
	return func(yield func(LogEvent, error) bool) {
		var failed error
		r := NewReader(src, l.MaxLine, func(err error) { failed = err })
		var clock clock
		for {
			b, err := r.Next()
			if failed != nil {
				err = failed
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(LogEvent{}, err)
				return
			}
			if !b.Long && !l.block(b, &clock, yield) {
				return
			}
			r.Release(b)
		}
	}
}

// block yields the events of a block, and reports whether to go on.
func (l *Log) block(b *Block, clock *clock, yield func(LogEvent, error) bool) bool {
	for rest := b.Data; len(rest) > 0; {
		var line []byte
		line, _, rest = cutLine(rest)
		at := clock.tell(line, l)
		matches := l.Scanner.Append(nil, line)
		e := LogEvent{At: at, Context: extract.ReadContext(line, matches)}
		for _, m := range matches {
			if l.Policy.Skip(m.Key) == extract.Worth && !slices.Contains(e.Keys, m.Key) {
				e.Keys = append(e.Keys, m.Key)
			}
		}
		if len(e.Keys) > 0 && !yield(e, nil) {
			return false
		}
	}
	return true
}

// A clock tells the time of one line after the other.
type clock struct {
	start time.Time
	at    time.Duration
}

func (c *clock) tell(line []byte, l *Log) time.Duration {
	t, ok := LineTime(line, l.Now, nil)
	switch {
	case !ok && c.start.IsZero():
		c.at += l.Apart
	case !ok:
	case c.start.IsZero():
		c.start = t.Add(-c.at)
	default:
		c.at = max(c.at, t.Sub(c.start))
	}
	return c.at
}
