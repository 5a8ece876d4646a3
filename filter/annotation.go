package filter

import (
	"sync/atomic"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// A Form is how lines leave.
type Form uint8

// The forms.
const (
	Text   Form = iota // every line keeps its shape: a JSON event stays JSON, a text line stays text
	NDJSON             // text lines are wrapped in a JSON object
	Pretty             // for people: coloured in place, explained beneath
)

// An Only says which lines leave at all.
type Only uint8

// The choices.
const (
	All Only = iota
	OnlyAnnotated
	OnlyMalicious
)

// An Annotation is the Worker of the filter: its lines leave as they came, annotated where something is known of what
// they hold. Indicators that nobody knows are handed to the scheduler, and waited for by nobody.
type Annotation struct {
	Scanner   extract.Scanner
	Know      *Knowledge
	Annotator *annotate.Annotator
	Form      Form
	Only      Only
	Color     bool
	Tally     *Tally

	matches []extract.Match
	hits    []annotate.Hit
	unknown []lookup.Sighting
	local   counts

	wrapper annotate.Wrapper // of the long line at hand
	wraps   bool             // the long line is wrapped
	heldCR  bool             // its last piece ended with a CR, which may belong to its ending
}

// A Tally counts what the lines held. It is safe for concurrent use.
type Tally struct {
	Shown, Malicious, Related, Other, Unknown, Hidden atomic.Int64
}

// counts is a worker's part of a Tally, added to it block by block.
type counts struct {
	shown     int64 // lines that leave
	malicious int64 // lines with something malicious
	related   int64 // lines with something related, but nothing malicious
	other     int64 // other annotated lines
	unknown   int64 // indicators that a source might know
	hidden    int64 // malicious indicators that the allow list hides
}

func (t *Tally) add(c counts) {
	t.Shown.Add(c.shown)
	t.Malicious.Add(c.malicious)
	t.Related.Add(c.related)
	t.Other.Add(c.other)
	t.Unknown.Add(c.unknown)
	t.Hidden.Add(c.hidden)
}

// Process appends b's lines as they are to leave; where none of them changes, it is b.Data itself.
func (a *Annotation) Process(dst []byte, b *Block) []byte {
	if b.Long {
		return a.long(dst, b)
	}
	a.local = counts{}
	now := time.Now()
	copied, out := 0, dst
	for pos := 0; pos < len(b.Data); {
		line, ending, _ := cutLine(b.Data[pos:])
		next := pos + len(line) + len(ending)
		verdict, event := a.look(line, now)
		leaves := a.leaves(verdict)
		if leaves {
			a.local.shown++
		}
		if !leaves || a.changes(verdict, event) {
			out = append(out, b.Data[copied:pos]...)
			if leaves {
				out = append(a.appendLine(out, line, event), ending...)
			}
			copied = next
		}
		pos = next
	}
	a.Tally.add(a.local)
	if copied == 0 {
		return b.Data
	}
	return append(out, b.Data[copied:]...)
}

// look finds the hits of a line, and hands what is unknown to the scheduler. verdict is the worst of the hits'.
func (a *Annotation) look(line []byte, now time.Time) (verdict intel.Verdict, event bool) {
	a.matches, event = a.Scanner.AppendEvent(a.matches[:0], line)
	a.hits, a.unknown = a.hits[:0], a.unknown[:0]
	for _, m := range a.matches {
		k := a.Know.find(m.Key, now)
		if k.skip == extract.Allowed {
			if k.Verdict == intel.Malicious {
				a.local.hidden++
			}
			continue
		}
		if k.Verdict != intel.NoVerdict {
			a.hits = append(a.hits, annotate.Hit{Match: m, Finding: k.Finding})
			verdict = max(verdict, k.Verdict)
		}
		if k.want && k.Verdict != intel.Related {
			a.unknown = append(a.unknown, lookup.Sighting{Key: m.Key, Held: k.held, Was: k.Verdict})
		}
	}
	if len(a.unknown) > 0 {
		a.ask(line, verdict)
	}
	a.count(verdict)
	return verdict, event
}

// ask hands the unknown indicators of a line to the scheduler, with what the line says beside them.
func (a *Annotation) ask(line []byte, verdict intel.Verdict) {
	a.local.unknown += int64(len(a.unknown))
	context := extract.ReadContext(line, a.matches)
	for _, sighting := range a.unknown {
		sighting.Context, sighting.Beside = context, verdict == intel.Malicious
		a.Know.Scheduler.Want(sighting)
	}
	if verdict == intel.Malicious && context.Host != "" {
		a.Know.Scheduler.Met(context.Host)
	}
}

func (a *Annotation) count(verdict intel.Verdict) {
	switch verdict {
	case intel.NoVerdict:
	case intel.Malicious:
		a.local.malicious++
	case intel.Related:
		a.local.related++
	default:
		a.local.other++
	}
}

// changes reports whether a line leaves otherwise than it came.
func (a *Annotation) changes(verdict intel.Verdict, event bool) bool {
	return verdict != intel.NoVerdict || a.Form == Pretty || a.Form == NDJSON && !event
}

// leaves reports whether a line leaves at all.
func (a *Annotation) leaves(verdict intel.Verdict) bool {
	switch a.Only {
	case OnlyMalicious:
		return verdict == intel.Malicious
	case OnlyAnnotated:
		return verdict != intel.NoVerdict
	}
	return true
}

// appendLine appends a line, without its ending, in its form.
func (a *Annotation) appendLine(dst, line []byte, event bool) []byte {
	switch {
	case a.Form == Pretty:
		return a.Annotator.AppendPretty(dst, line, a.hits, a.Color)
	case event:
		dst, _ = a.Annotator.AppendJSON(dst, line, a.hits) // a line that is no event for it leaves as it came
		return dst
	case a.Form == NDJSON:
		return a.Annotator.AppendWrapped(dst, line, a.hits)
	}
	return a.Annotator.AppendText(dst, line, a.hits)
}

// long passes the pieces of a line over the limit: wrapped when every line is to be JSON and this one does not begin
// like it, made safe for people, else as they came.
func (a *Annotation) long(dst []byte, b *Block) []byte {
	if b.First {
		a.wraps = a.Form == NDJSON && (len(b.Data) == 0 || b.Data[0] != '{')
		a.heldCR = false
	}
	switch {
	case a.Only != All:
		return dst
	case a.Form != Pretty && !a.wraps:
		return b.Data
	}
	if b.First && a.wraps {
		dst = a.wrapper.Begin(dst)
	}
	content, ending := a.cutEnding(b)
	if a.Form == Pretty {
		dst = annotate.AppendSafe(dst, content)
	} else {
		dst = a.wrapper.Append(dst, content)
	}
	if b.Last && a.wraps {
		dst = a.wrapper.End(dst)
	}
	return append(dst, ending...)
}

// cutEnding parts a piece from its line ending, of which the CR may have come at the end of the piece before.
func (a *Annotation) cutEnding(b *Block) (content, ending []byte) {
	data := b.Data
	if a.heldCR {
		data = append([]byte{'\r'}, data...)
		a.heldCR = false
	}
	if b.Last {
		content, ending, _ = cutLine(data)
		return content, ending
	}
	if n := len(data); n > 0 && data[n-1] == '\r' {
		a.heldCR = true
		data = data[:n-1]
	}
	return data, nil
}
