package plan

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// maxTraceLine bounds a line of a trace or of a report file.
const maxTraceLine = 16 << 20

// maxTraceTime is the latest time in a trace, in seconds: about 30 years.
const maxTraceTime = 1e9

// ReadTrace reads a trace: NDJSON, plain or gzip, one event per line in the order of time, such as
//
//	{"t":12.3,"event":41,"indicators":[{"type":"ip","value":"198.51.100.7","ctx":{"outcome":"fail","host":"10.0.0.9"}}]}
//
// with t in seconds. It ends at the first error, which names the line; going back in time is one.
func ReadTrace(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var last time.Duration
		for n, line := range lines(r) {
			var event Event
			err := n.err
			if err == nil {
				event, err = parseEvent(line)
			}
			if err == nil && event.At < last {
				err = fmt.Errorf("t: %v is before the line above", event.At)
			}
			last = event.At
			if err != nil {
				yield(Event{}, fmt.Errorf("trace: line %d: %w", n.number, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

type position struct {
	number int
	err    error // ends the reading
}

// lines yields the lines of r, unpacked, without empty ones. A line is valid until the next.
func lines(r io.Reader) iter.Seq2[position, []byte] {
	return func(yield func(position, []byte) bool) {
		plain, err := unpacked(r)
		if err != nil {
			yield(position{1, err}, nil)
			return
		}
		scanner := bufio.NewScanner(plain)
		scanner.Buffer(nil, maxTraceLine)
		number := 0
		for scanner.Scan() {
			number++
			line := bytes.TrimSpace(scanner.Bytes())
			if len(line) > 0 && !yield(position{number, nil}, line) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(position{number + 1, err}, nil)
		}
	}
}

// unpacked returns what r holds, which may be gzip.
func unpacked(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	if magic, _ := buffered.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return buffered, nil
	}
	return gzip.NewReader(buffered)
}

// traceEvent is an event as a trace spells it.
type traceEvent struct {
	T          float64          `json:"t"`
	Indicators []traceIndicator `json:"indicators"`
}

type traceIndicator struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	Ctx   struct {
		Outcome string `json:"outcome,omitempty"`
		Host    string `json:"host,omitempty"`
	} `json:"ctx"`
}

var outcomes = map[string]extract.Outcome{
	"": extract.NoOutcome, "ok": extract.OK, "fail": extract.Fail, "deny": extract.Deny, "nx": extract.NXDomain,
}

func parseEvent(line []byte) (Event, error) {
	var raw traceEvent
	if err := json.Unmarshal(line, &raw); err != nil {
		return Event{}, err
	}
	if !(raw.T >= 0 && raw.T <= maxTraceTime) {
		return Event{}, fmt.Errorf("t: %v is no time in seconds since the start", raw.T)
	}
	event := Event{At: time.Duration(raw.T * float64(time.Second)), Indicators: make([]Indicator, len(raw.Indicators))}
	for i, ind := range raw.Indicators {
		typ, ok := extract.ParseType(ind.Type)
		if !ok {
			return Event{}, fmt.Errorf("indicators[%d].type: unknown type %q", i, ind.Type)
		}
		outcome, ok := outcomes[ind.Ctx.Outcome]
		if !ok {
			return Event{}, fmt.Errorf("indicators[%d].ctx.outcome: unknown outcome %q", i, ind.Ctx.Outcome)
		}
		event.Indicators[i] = Indicator{
			extract.Key{Type: typ, Value: ind.Value}, extract.Context{Outcome: outcome, Host: ind.Ctx.Host},
		}
	}
	return event, nil
}

// Answers plays a source from a file. Its method [Answers.Lookup] is a [Config.Answer].
type Answers struct {
	truth   map[string]truth // by value, whatever its type
	reports map[extract.Key]intel.Report
}

// truth is what a trace's truth file says about one value.
type truth struct {
	Votes   int8     `json:"votes"`
	Related []string `json:"related"`
}

// ReadAnswers reads what a source would answer, plain or gzip: either one JSON object in the truth format of a trace,
//
//	{"198.51.100.7":{"votes":-1,"related":["bad.example"]}}
//
// or report lines, which parse reads one at a time. What is not in the file is unknown to the source.
func ReadAnswers(r io.Reader, parse func(line []byte) (extract.Key, intel.Report, error)) (*Answers, error) {
	plain, err := unpacked(r)
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	a := &Answers{reports: make(map[extract.Key]intel.Report)}
	if json.Unmarshal(data, &a.truth) == nil { // report lines hold more than objects, or are several
		return a, nil
	}
	a.truth = nil
	for n, line := range lines(bytes.NewReader(data)) {
		if n.err != nil {
			return nil, fmt.Errorf("answers: line %d: %w", n.number, n.err)
		}
		key, report, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("answers: line %d: %w", n.number, err)
		}
		a.reports[key.Clone()] = report
	}
	return a, nil
}

// Lookup returns the report on key, the zero Report when there is none.
func (a *Answers) Lookup(key extract.Key) intel.Report {
	if t, ok := a.truth[key.Value]; ok {
		return t.report()
	}
	return a.reports[key]
}

// report puts the related values where a report has a list for them.
func (t truth) report() intel.Report {
	r := intel.Report{Known: true, Voted: true, Votes: t.Votes}
	for _, value := range t.Related {
		key, ok := extract.ParseKey(value)
		switch {
		case !ok:
		case key.Type == extract.IP || key.Type == extract.Domain:
			r.Resolutions = append(r.Resolutions, intel.Resolution{Value: key.Value})
		case key.Type == extract.Email:
			r.Emails = append(r.Emails, key.Value)
		case key.Type.IsHash():
			r.Hashes = append(r.Hashes, key.Value)
		}
	}
	return r
}

// WriteAsk writes a as one line of a decision log, such as
//
//	{"t":37.000000,"ask":"198.51.100.7","type":"ip"}
func WriteAsk(w io.Writer, a Ask) error {
	value, err := json.Marshal(a.Key.Value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `{"t":%.6f,"ask":%s,"type":%q}`+"\n", a.At.Seconds(), value, a.Key.Type)
	return err
}
