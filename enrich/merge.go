package enrich

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
)

// A merger annotates documents. Whoever uses it, and what it returns, holds mu.
type merger struct {
	mu        sync.Mutex
	scanner   extract.Scanner
	know      Knowledge
	annotator *annotate.Annotator
	prune     bool

	matches []extract.Match
	hits    []annotate.Hit
	pruned  []byte
	merged  []byte
}

// merge returns source, a JSON object, with what is known of its indicators. It is valid until the next call, and the
// same bytes when nothing would change.
func (m *merger) merge(source []byte, flat bool) []byte {
	now := time.Now()
	m.matches, _ = m.scanner.AppendEvent(m.matches[:0], source)
	m.hits = m.hits[:0]
	for _, match := range m.matches {
		if found, skip := m.know.Find(match.Key, now); found.Verdict != intel.NoVerdict && skip != extract.Allowed {
			m.hits = append(m.hits, annotate.Hit{Match: match, Finding: found})
		}
	}
	m.annotator.Flat = flat
	merged := source
	if len(m.hits) > 0 {
		m.merged, _ = m.annotator.AppendJSON(m.merged[:0], source, m.hits) // no object is no event, and stays
		merged = m.merged
	}
	if m.prune && !flat {
		m.pruned = m.annotator.Prune(m.pruned[:0], merged, func(key extract.Key) bool {
			found, skip := m.know.Find(key, now)
			return found.Verdict != intel.NoVerdict && skip != extract.Allowed
		})
		merged = m.pruned
	}
	return merged
}

// patch returns the members by which a partial update makes new of old, one in another as the server merges them: objects
// member by member, everything else whole. ok is false when that cannot be done, because new lacks something that old has
// or one of them is null.
func patch(old, new []byte) (doc []byte, ok bool, err error) {
	var before, after map[string]json.RawMessage
	if err := json.Unmarshal(old, &before); err != nil {
		return nil, false, err
	}
	if err := json.Unmarshal(new, &after); err != nil {
		return nil, false, err
	}
	if before == nil || after == nil {
		return nil, false, nil // null has no members
	}
	changed := make(map[string]json.RawMessage)
	for name := range before {
		if _, still := after[name]; !still {
			return nil, false, nil
		}
	}
	for name, value := range after {
		was, had := before[name]
		switch {
		case had && bytes.Equal(was, value):
		case had && isObject(was) && isObject(value):
			part, ok, err := patch(was, value)
			if err != nil || !ok {
				return nil, ok, err
			}
			if len(part) > len("{}") {
				changed[name] = part
			}
		case had && sameJSON(was, value):
		default:
			changed[name] = value
		}
	}
	doc, err = json.Marshal(changed)
	return doc, true, err
}

func isObject(v json.RawMessage) bool { return len(v) > 0 && v[0] == '{' }

// sameJSON reports whether two values differ in their spelling alone.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	for _, v := range []struct {
		text json.RawMessage
		to   *any
	}{{a, &x}, {b, &y}} {
		d := json.NewDecoder(bytes.NewReader(v.text))
		d.UseNumber()
		if d.Decode(v.to) != nil {
			return false
		}
	}
	return reflect.DeepEqual(x, y)
}

// sourceFields are the parts of documents that are needed to annotate those fields: nil is all.
func (j *Job) sourceFields() any {
	if len(j.Fields) == 0 || j.Whole {
		return true
	}
	return append(slices.Clone(j.Fields), "threat", "related", "iocpipe")
}

// An update is what becomes of one document.
type update struct {
	hit
	doc       []byte // members to change, or all of them
	whole     bool   // doc is all of the document
	partial   bool   // Source is not all of the document
	attempts  int
	conflicts int
	read      bool // to be read again before it is written
}

// decide makes u of the document that was read. changed is false when nothing is to be written.
func (j *Job) decide(u *update, t *Target) (changed bool, err error) {
	if u.SeqNo == nil {
		return false, fmt.Errorf("document %s of %s: the server does not tell its sequence number: it is not written", u.ID, u.Index)
	}
	j.merger.mu.Lock()
	defer j.merger.mu.Unlock()
	merged := j.merger.merge(u.Source, t.Flat)
	u.doc, u.read, u.whole = nil, false, false
	if bytes.Equal(merged, u.Source) {
		return false, nil
	}
	if !j.Whole {
		doc, ok, err := patch(u.Source, merged)
		if err != nil {
			return false, fmt.Errorf("document %s of %s: %w", u.ID, u.Index, err)
		}
		if ok {
			u.doc = doc
			return len(doc) > len("{}"), nil
		}
	}
	if u.partial {
		u.read = true // what is to be written whole must be read whole
		return true, nil
	}
	var line bytes.Buffer // a line of the bulk API: documents may have been stored in several
	if err := json.Compact(&line, merged); err != nil {
		return false, fmt.Errorf("document %s of %s: %w", u.ID, u.Index, err)
	}
	u.doc, u.whole = line.Bytes(), true
	return true, nil
}
