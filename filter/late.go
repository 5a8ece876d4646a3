package filter

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// maxPassed is how many indicators are remembered to have passed without an answer, see passages. It is well over the number that can wait for a question.
const maxPassed = 1 << 16

// maxMeetings is how many meetings are remembered for each, and maxAllMeetings for all of them, some 30 MB: whoever met
// it is to be told of.
const maxMeetings, maxAllMeetings = 256, 1 << 18

// A Late remembers which events passed before an answer about their indicators came, so that it reaches them still.
// It is safe for concurrent use.
type Late struct {
	mu     sync.Mutex
	passed passages
}

// A Passage is what is remembered of an indicator that passed unanswered.
type Passage struct {
	Events      int64
	First, Last Place
	Meetings    []Meeting
	Unmet       int64 // events that no meeting holds, because there were too many
}

// A Meeting is what a host met of an indicator within an hour.
type Meeting struct {
	Host        string // empty when the lines do not tell
	Events      int64
	First, Last Place
}

// A LateVerdict is an answer, or a relation that an answer told, about something that has passed.
type LateVerdict struct {
	Key     extract.Key
	Finding intel.Finding
	Passage
}

// A Hit is one host that met one malicious indicator, in one event or several.
type Hit struct {
	Key         extract.Key // aliases the line
	Finding     intel.Finding
	Host        string // empty when the line does not tell; aliases the line
	Events      int64
	First, Last Place
	Late        bool // the verdict came after the events had left
}

// Hits returns what a late verdict means for each host that met the indicator, and hour.
func (v LateVerdict) Hits() (hits []Hit) {
	if v.Finding.Verdict != intel.Malicious {
		return nil
	}
	for _, m := range v.Meetings {
		hits = append(hits, Hit{v.Key, v.Finding, m.Host, m.Events, m.First, m.Last, true})
	}
	return hits
}

// NewLate returns a Late that remembers nothing yet.
func NewLate() *Late {
	return &Late{passed: passages{known: make(map[extract.Key]*passed)}}
}

// Pass notes that an event with key has passed unanswered. It clones what it keeps.
func (l *Late) Pass(key extract.Key, place Place, host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.passed.get(key)
	if p == nil {
		p = l.passed.add(key)
		p.First = place
	}
	p.Events++
	p.Last = place
	before := len(p.Meetings)
	p.meet(host, place)
	for l.passed.meetings += len(p.Meetings) - before; l.passed.meetings > maxAllMeetings; {
		l.passed.forget()
	}
}

func (p *Passage) meet(host string, place Place) {
	for i := range p.Meetings {
		if m := &p.Meetings[i]; m.Host == host && hour(m.First) == hour(place) {
			m.Events++
			m.Last = place
			return
		}
	}
	if len(p.Meetings) == maxMeetings {
		p.Unmet++
		return
	}
	p.Meetings = append(p.Meetings, Meeting{strings.Clone(host), 1, place, place})
}

func hour(p Place) int64 { return p.Time.Unix() / 3600 }

// Answered returns the late verdicts that an answer brings: on its indicator, and, when it is malicious, on those that
// it names. What is told is forgotten.
func (l *Late) Answered(a lookup.Answer, know *Knowledge) (verdicts []LateVerdict) {
	for _, key := range append([]extract.Key{a.Key}, a.Related...) {
		found, skip := know.Find(key, a.At)
		if found.Verdict == intel.NoVerdict || skip != extract.Worth {
			continue
		}
		if p, ok := l.take(key); ok {
			verdicts = append(verdicts, LateVerdict{key, found, p})
		}
	}
	return verdicts
}

// Again notes that an event with key has passed once more, if key is remembered. It returns false when Pass is to be told,
// because key is new.
func (l *Late) Again(key extract.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.passed.get(key)
	if p != nil {
		p.Events++
	}
	return p != nil
}

// Reviewed returns the late verdicts that local intelligence brings which was not there when events passed: on what it
// calls malicious of what is remembered. What is told is forgotten.
func (l *Late) Reviewed(know *Knowledge) (verdicts []LateVerdict) {
	l.mu.Lock()
	keys := l.passed.keys()
	l.mu.Unlock()
	for _, key := range keys {
		found, skip := know.FindLocal(key)
		if found.Verdict != intel.Malicious || skip == extract.Allowed {
			continue
		}
		if p, ok := l.take(key); ok {
			verdicts = append(verdicts, LateVerdict{key, found, p})
		}
	}
	return verdicts
}

func (l *Late) take(key extract.Key) (Passage, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed.take(key)
}

// AppendFollowUp appends the record that follows events which have left without the verdict: one line, an event of
// kind enrichment with the indicator, its answer, and how many events passed, the first and the last of them.
func AppendFollowUp(dst []byte, a *annotate.Annotator, v LateVerdict, now time.Time) []byte {
	bare := annotate.AppendTime([]byte(`{"@timestamp":"`), now)
	bare = append(bare, `","event":{"kind":"enrichment"},"iocpipe":{"late":{"events":`...)
	bare = strconv.AppendInt(bare, v.Events, 10)
	bare = append(bare, `,"indicator":`...)
	from := len(bare) + 1
	bare = annotate.AppendString(bare, v.Key.Value)
	to := len(bare) - 1
	bare = append(bare, `,"first":`...)
	bare = appendPlace(bare, v.First)
	bare = append(bare, `,"last":`...)
	bare = appendPlace(bare, v.Last)
	bare = append(bare, "}}}"...)
	hit := annotate.Hit{Match: extract.Match{Key: v.Key, Start: from, End: to, Field: "iocpipe.late.indicator"}, Finding: v.Finding}
	dst, _ = a.AppendJSON(dst, bare, []annotate.Hit{hit})
	return append(dst, '\n')
}

func appendPlace(dst []byte, p Place) []byte {
	dst = append(dst, `{"time":"`...)
	dst = annotate.AppendTime(dst, p.Time)
	dst = append(dst, '"')
	if p.File != "" {
		dst = append(dst, `,"file":`...)
		dst = annotate.AppendString(dst, p.File)
	}
	dst = append(dst, `,"line":`...)
	dst = strconv.AppendInt(dst, p.Line, 10)
	return append(dst, '}')
}
