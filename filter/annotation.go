package filter

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// A Form is how lines leave.
type Form uint8

// The forms.
const (
	Text    Form = iota // every line keeps its shape: a JSON event stays JSON, a text line stays text
	NDJSON              // text lines are wrapped in a JSON object
	Pretty              // for people: coloured in place, explained beneath
	Indexed             // as documents of an index, see Documents
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
	Documents *Documents     // for the form Indexed
	Zone      *time.Location // of times that lines state without one; nil is UTC

	Late    *Late     // remembers what passes unanswered; may be nil
	Seen    *Late     // remembers what passes unknown, asked about or not, for local intelligence to come; may be nil. Of each it is told the first event, and how many there were
	Waiting *Waiting  // holds blocks back for answers; may be nil
	Hits    func(Hit) // is told of everything malicious that is met; may be nil

	Hidden func(extract.Key, intel.Finding) // is told of everything malicious that the allow list hides; may be nil

	matches []extract.Match
	hits    []annotate.Hit
	unknown []lookup.Sighting
	local   counts
	parser  fastjson.Parser
	clock   lineClock

	index   indexer
	wrapper annotate.Wrapper // of the long line at hand
	wraps   bool             // the long line is wrapped
	heldCR  bool             // its last piece ended with a CR, which may belong to its ending
}

// A Tally counts what the lines held. It is safe for concurrent use.
type Tally struct {
	Lines, Shown              atomic.Int64 // that came in, and that left
	Malicious, Related, Other atomic.Int64 // lines by their worst verdict
	Unknown                   atomic.Int64 // sightings of what a source might know
	Hidden                    atomic.Int64 // malicious indicators that the allow list hides

	Found    [extract.Antivirus + 1]atomic.Int64 // indicators by type
	Answered [numLayers]atomic.Int64             // indicators by who knew them
}

// A Layer is who knew an indicator.
type Layer uint8

// The layers.
const (
	Nobody Layer = iota
	LocalLayer
	CacheLayer
	numLayers
)

// Layers are the names of the layers.
var Layers = [numLayers]string{"none", "local", "cache"}

// counts is a worker's part of a Tally, added to it block by block.
type counts struct {
	lines     int64
	found     [extract.Antivirus + 1]int64
	answered  [numLayers]int64
	shown     int64 // lines that leave
	malicious int64 // lines with something malicious
	related   int64 // lines with something related, but nothing malicious
	other     int64 // other annotated lines
	unknown   int64 // indicators that a source might know
	unheeded  int   // of them, what the scheduler has no place for
	hidden    int64 // malicious indicators that the allow list hides
}

func (t *Tally) add(c counts) {
	t.Lines.Add(c.lines)
	t.Shown.Add(c.shown)
	for typ, n := range c.found {
		t.Found[typ].Add(n)
	}
	for layer, n := range c.answered {
		t.Answered[layer].Add(n)
	}
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
	if a.Waiting != nil {
		a.await(b)
	}
	if a.Form == Indexed {
		return a.documents(dst, b)
	}
	a.local = counts{lines: int64(b.Lines)} // begun anew: await found everything once already
	now := time.Now()
	copied, out := 0, dst
	n := b.Line
	for pos := 0; pos < len(b.Data); n++ {
		line, ending, _ := cutLine(b.Data[pos:])
		next := pos + len(line) + len(ending)
		verdict, event := a.find(line, now)
		a.tell(line, verdict, event, Place{now, b.Name, n})
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
	a.tally()
	if copied == 0 {
		return b.Data
	}
	return append(out, b.Data[copied:]...)
}

// tally adds what was counted in a block to what others count, too.
func (a *Annotation) tally() {
	a.Tally.add(a.local)
	if a.local.unheeded > 0 {
		a.Know.Scheduler.Unheeded(a.local.unheeded)
	}
}

// await hands what is unknown in b to the scheduler, and waits for the answers that can be expected.
func (a *Annotation) await(b *Block) {
	var unknown []extract.Key
	now := time.Now()
	for rest := b.Data; len(rest) > 0; {
		var line []byte
		line, _, rest = cutLine(rest)
		if verdict, _ := a.find(line, now); len(a.unknown) > 0 {
			a.ask(extract.ReadContext(line, a.matches), verdict)
			for _, sighting := range a.unknown {
				unknown = append(unknown, sighting.Key.Clone())
			}
		}
	}
	a.Waiting.wait(len(b.Data), unknown)
}

// find finds the hits of a line, and what in it is unknown. verdict is the worst of the hits'.
func (a *Annotation) find(line []byte, now time.Time) (verdict intel.Verdict, event bool) {
	a.matches, event = a.Scanner.AppendEvent(a.matches[:0], line)
	a.hits, a.unknown = a.hits[:0], a.unknown[:0]
	a.clock.read = false
	for _, m := range a.matches {
		k := a.Know.find(m.Key, now)
		a.local.found[m.Type]++
		a.local.answered[layerOf(k.Finding)]++
		if k.skip == extract.Allowed {
			if k.Verdict == intel.Malicious {
				a.hide(m.Key, k.Finding)
			}
			continue
		}
		if k.Verdict != intel.NoVerdict || a.Form == Indexed {
			a.hits = append(a.hits, annotate.Hit{Match: m, Finding: k.Finding})
			verdict = max(verdict, k.Verdict)
		}
		if k.want && !a.wanted(m.Key) {
			a.unknown = append(a.unknown, lookup.Sighting{Key: m.Key, Held: k.held, Was: k.Verdict})
		}
	}
	a.heed(now)
	return verdict, event
}

// hide counts, and tells of, something malicious that the allow list hides.
func (a *Annotation) hide(key extract.Key, f intel.Finding) {
	a.local.hidden++
	if a.Hidden != nil {
		a.Hidden(key, f)
	}
}

// heed leaves, of what is unknown in the line, that for which the scheduler may have a place.
func (a *Annotation) heed(now time.Time) {
	heeded := a.unknown[:0]
	for i := range a.unknown {
		if a.Know.Scheduler.Heeds(a.unknown[i].Key, now) {
			heeded = append(heeded, a.unknown[i])
		}
	}
	a.local.unknown += int64(len(a.unknown))
	a.local.unheeded += len(a.unknown) - len(heeded)
	a.unknown = heeded
}

func layerOf(f intel.Finding) Layer {
	switch {
	case f.Verdict == intel.NoVerdict:
		return Nobody
	case f.Origin == intel.FromLocal:
		return LocalLayer
	}
	return CacheLayer
}

// wanted reports whether key is among the last few that are unknown in the line: an event names most things twice.
func (a *Annotation) wanted(key extract.Key) bool {
	const few = 8
	for _, s := range a.unknown[max(0, len(a.unknown)-few):] {
		if s.Key == key {
			return true
		}
	}
	return false
}

// tell counts a line, and tells those who want to know of it: the scheduler, Late and Hits.
func (a *Annotation) tell(line []byte, verdict intel.Verdict, event bool, place Place) {
	a.count(verdict)
	if a.Seen != nil {
		a.see(line, event, place)
	}
	malicious := verdict == intel.Malicious && (a.Hits != nil || a.Know.Scheduler != nil)
	if !malicious && len(a.unknown) == 0 {
		return
	}
	context := extract.ReadContext(line, a.matches)
	if a.Waiting == nil && len(a.unknown) > 0 {
		a.ask(context, verdict)
	}
	late := a.Late != nil && a.leaveWaiting()
	if !malicious && !late {
		return
	}
	if late || a.Hits != nil {
		place.Time, _ = a.clock.at(line, place.Time, a.Zone)
	}
	if late {
		for _, s := range a.unknown {
			a.Late.Pass(s.Key, place, witness(context.Host, line, event, s.Value, &a.parser))
		}
	}
	if malicious {
		a.tellMalicious(line, event, context.Host, place)
	}
}

// see tells Seen of what is unknown in the line.
func (a *Annotation) see(line []byte, event bool, place Place) {
	private, read := "", false
	for i := range a.hits {
		h := &a.hits[i]
		if h.Finding.Verdict != intel.NoVerdict || a.Seen.Again(h.Key) {
			continue
		}
		if !read { // seldom
			private, read = extract.ReadContext(nil, a.matches).Host, true // what the line says is nothing to Seen
			place.Time, _ = a.clock.at(line, place.Time, a.Zone)
		}
		a.Seen.Pass(h.Key, place, witness(private, line, event, h.Value, &a.parser))
	}
}

// tellMalicious tells of each malicious indicator of a line who met it: the scheduler, and Hits.
func (a *Annotation) tellMalicious(line []byte, event bool, private string, place Place) {
	for i, h := range a.hits {
		again := slices.ContainsFunc(a.hits[:i], func(o annotate.Hit) bool { return o.Key == h.Key })
		if h.Finding.Verdict != intel.Malicious || again {
			continue
		}
		host := witness(private, line, event, h.Value, &a.parser)
		if a.Know.Scheduler != nil && host != "" {
			a.Know.Scheduler.Met(host)
		}
		if a.Hits != nil {
			a.Hits(Hit{Key: h.Key, Finding: h.Finding, Host: host, Events: 1, First: place, Last: place})
		}
	}
}

// ask hands the unknown indicators of a line to the scheduler, with what the line says beside them.
func (a *Annotation) ask(context extract.Context, verdict intel.Verdict) {
	for i := range a.unknown {
		a.unknown[i].Context, a.unknown[i].Beside = context, verdict == intel.Malicious
	}
	a.Know.Scheduler.Want(a.unknown...)
}

// leaveWaiting leaves, of what is unknown in the line, that which waits for an answer, and reports whether any does.
func (a *Annotation) leaveWaiting() bool {
	a.unknown = slices.DeleteFunc(a.unknown, func(s lookup.Sighting) bool { return !a.Know.Scheduler.Waits(s.Key) })
	return len(a.unknown) > 0
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
		return a.Annotator.AppendWrapped(dst, nil, line, a.hits)
	}
	return a.Annotator.AppendText(dst, line, a.hits)
}

// long passes the pieces of a line over the limit: wrapped when every line is to be JSON and this one does not begin
// like it, made safe for people, else as they came.
func (a *Annotation) long(dst []byte, b *Block) []byte {
	if b.Last {
		a.Tally.Lines.Add(1)
		if a.Only == All {
			a.Tally.Shown.Add(1)
		}
	}
	if b.First {
		a.wraps = a.Form == NDJSON && (len(b.Data) == 0 || b.Data[0] != '{')
		a.heldCR = false
	}
	switch {
	case a.Only != All:
		return dst
	case a.Form == Indexed:
		return a.longDocument(dst, b)
	case a.Form != Pretty && !a.wraps:
		return b.Data
	}
	if b.First && a.wraps {
		dst = a.wrapper.Begin(dst, nil)
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
