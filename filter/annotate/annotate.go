// Package annotate puts what is known of a line's indicators onto the line, and proves afterwards that nothing else was
// touched ([VerifyLine]). JSON events get the fields of the Elastic Common Schema spliced into their own bytes
// ([Annotator.AppendJSON]); text gets a suffix ([Annotator.AppendText]), a JSON object around it
// ([Annotator.AppendWrapped], [Wrapper]), or colours and an explanation for people ([Annotator.AppendPretty]). What is
// known, and which lines are events, is found out elsewhere.
package annotate

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A Hit is one match in a line and what is known of it. A hit whose verdict is [intel.NoVerdict] gets no entry; in a
// JSON event its value still joins related.*, by which documents are found again when a verdict comes late.
type Hit struct {
	extract.Match
	Finding intel.Finding
}

// An Annotator annotates lines. Its memory is used again for the next line, so it is for one goroutine; nothing that
// it returns aliases that memory. The settings may be changed between lines.
type Annotator struct {
	// MaxRelated is how many values each list of related indicators keeps. With 0 only the totals are written.
	MaxRelated int

	// Confidence is indicator.confidence by verdict. A verdict that is missing, or empty, gets none.
	Confidence map[intel.Verdict]string

	// MatchedType is matched.type. Kibana shows entries of three kinds only: indicator_match_rule,
	// investigation_time, and those without a type, which the empty string makes.
	MatchedType string

	// Flat says that no entries are written, but only the summary of what they would have been: for an index in which
	// threat.enrichments is not nested, where entries would lose which value belongs to which.
	Flat bool

	// Now is the clock behind matched.occurred and iocpipe.enriched_at.
	Now func() time.Time

	picks   []pick
	sorted  []int32 // indexes of picks by key, field and order of appearance
	decoded []byte  // values without JSON's escapes

	doc     document
	edits   []edit
	text    []byte   // what the edits put in
	items   []member // elements of the list at hand
	sum     summary
	stamp   []byte // the time of this annotation; see now
	changed bool   // an own entry was replaced or added
	reader  entryReader

	phrase  []byte             // of the entry at hand: its description,
	newest  []intel.Resolution // the resolutions of the list at hand,
	listed  []string           // and the values written to it
	wrapped []byte             // a text line as an event
}

// New returns an Annotator with the defaults: ten related values a list, [DefaultConfidence], indicator_match_rule, and
// the clock of the host.
func New() *Annotator {
	return &Annotator{
		MaxRelated:  10,
		Confidence:  DefaultConfidence(),
		MatchedType: "indicator_match_rule",
		Now:         time.Now,
	}
}

// DefaultConfidence returns the usual indicator.confidence by verdict. Nothing is High: a crowd of unknown size spoke.
func DefaultConfidence() map[intel.Verdict]string {
	return map[intel.Verdict]string{
		intel.Malicious: "Medium",
		intel.Related:   "Low",
		intel.Undecided: "Low",
		intel.Benign:    "None",
		intel.Unknown:   "Not Specified",
	}
}

// A pick is a hit and what becomes of it. Hits of the same key share a head: one pick that stands for them all.
type pick struct {
	hit    *Hit
	field  string // as it is written: "message" in text lines
	atomic []byte // the value as the line writes it, without JSON's escapes
	head   int32
	entry  bool // gets an own entry
	done   bool // has got it
	listed bool // of a head: its key has been dealt with
}

// maxKeyword is the longest string, in bytes, that a keyword field of the mapping indexes.
const maxKeyword = 1024

// maxValue is the longest value, in bytes, that fits matched.id beside the longest origin and kind.
const maxValue = maxKeyword - len("threatcrowd:antivirus:")

// choose fills a.picks, in the order of hits, and decides which of them get an entry: one for each field and value,
// and none for a field that repeats the event when the value has a field of its own. Values that are too long for
// matched.id get none either. escaped says that the line is JSON.
func (a *Annotator) choose(line []byte, hits []Hit, escaped bool) {
	a.picks, a.sorted, a.decoded = a.picks[:0], a.sorted[:0], a.decoded[:0]
	for i := range hits {
		a.sorted = append(a.sorted, int32(i))
		a.picks = append(a.picks, a.newPick(line, &hits[i], escaped))
	}
	slices.SortFunc(a.sorted, func(i, j int32) int {
		x, y := &a.picks[i], &a.picks[j]
		return cmp.Or(cmp.Compare(x.hit.Type, y.hit.Type), strings.Compare(x.hit.Value, y.hit.Value),
			strings.Compare(x.field, y.field), cmp.Compare(i, j))
	})
	for rest := a.sorted; len(rest) > 0; {
		n := 1
		for n < len(rest) && a.picks[rest[n]].hit.Key == a.picks[rest[0]].hit.Key {
			n++
		}
		a.chooseAmong(rest[:n])
		rest = rest[n:]
	}
}

func (a *Annotator) newPick(line []byte, hit *Hit, escaped bool) pick {
	p := pick{hit: hit, field: clip(hit.Field), atomic: line[hit.Start:hit.End]}
	if p.field == "" {
		p.field = "message"
	}
	if escaped && bytes.IndexByte(p.atomic, '\\') >= 0 {
		from := len(a.decoded)
		a.decoded = appendUnescaped(a.decoded, p.atomic)
		p.atomic = a.decoded[from:]
	}
	return p
}

// chooseAmong decides about the picks of one key, which are ordered by field.
func (a *Annotator) chooseAmong(same []int32) {
	ownField := slices.ContainsFunc(same, func(i int32) bool { return !repeatsEvent(a.picks[i].field) })
	for n, i := range same {
		p := &a.picks[i]
		p.head = same[0]
		again := n > 0 && a.picks[same[n-1]].field == p.field
		p.entry = !again && p.hit.Finding.Verdict != intel.NoVerdict && len(p.hit.Value) <= maxValue &&
			(!ownField || !repeatsEvent(p.field))
	}
}

// repeatsEvent reports whether field holds the event's text, in which the values of other fields occur again.
func repeatsEvent(field string) bool {
	return field == "message" || field == "event.original" || field == "log.original"
}

// find returns the first pick of that type and value whose field is not before field; nil when there is none.
func (a *Annotator) find(kind extract.Type, value, field []byte) *pick {
	at, _ := slices.BinarySearchFunc(a.sorted, field, func(i int32, field []byte) int {
		p := &a.picks[i]
		return cmp.Or(cmp.Compare(p.hit.Type, kind), compareBytes(p.hit.Value, value), compareBytes(p.field, field))
	})
	if at == len(a.sorted) {
		return nil
	}
	p := &a.picks[a.sorted[at]]
	if p.hit.Type != kind || p.hit.Value != string(value) {
		return nil
	}
	return p
}

// compareBytes is strings.Compare without a copy of b.
func compareBytes(s string, b []byte) int {
	switch {
	case s < string(b):
		return -1
	case s > string(b):
		return 1
	}
	return 0
}

// once reports whether p is the first pick of its key that is asked about.
func (a *Annotator) once(p *pick) bool {
	head := &a.picks[p.head]
	first := !head.listed
	head.listed = true
	return first
}
