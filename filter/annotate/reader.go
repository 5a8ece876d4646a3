package annotate

import (
	"bytes"
	"slices"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
	"iocpipe/intel"
)

// An ownEntry is what an own entry that came with an event says. Its bytes are valid until the reader's next call.
type ownEntry struct {
	kind         extract.Type
	value, field []byte
	occurred     []byte
	verdict      intel.Verdict
	votes        int8
	voted        bool
}

// An entryReader reads elements of threat.enrichments. It is for one goroutine.
type entryReader struct{ first, second fastjson.Parser }

// read reads one element. ok is false when it is no own entry: those carry an iocpipe object and tell, in matched, the
// field and the value, as [Annotator] writes them.
func (r *entryReader) read(raw []byte) (e ownEntry, ok bool) {
	if raw[0] != '{' {
		return e, false
	}
	v, err := r.first.ParseBytes(raw)
	if err != nil {
		return e, false // nested too deeply to be ours
	}
	own, matched := v.GetObject("iocpipe"), v.Get("matched")
	e.field = matched.GetStringBytes("field")
	e.kind, e.value, ok = parseID(matched.GetStringBytes("id"))
	if own == nil || e.field == nil || !ok {
		return e, false
	}
	e.occurred = matched.GetStringBytes("occurred")
	e.verdict = verdictNamed(v.GetStringBytes("iocpipe", "verdict"))
	if votes := v.Get("iocpipe", "votes"); votes != nil {
		n, err := votes.Int()
		e.votes, e.voted = int8(n), err == nil && -1 <= n && n <= 1
	}
	return e, true
}

// parseID takes matched.id apart: the origin, the kind and the normalised value, between colons.
func parseID(id []byte) (kind extract.Type, value []byte, ok bool) {
	_, rest, _ := bytes.Cut(id, []byte(":"))
	name, value, ok := bytes.Cut(rest, []byte(":"))
	switch string(name) {
	case "ip":
		kind = extract.IP
	case "domain":
		kind = extract.Domain
	case "email":
		kind = extract.Email
	case "file":
		kind = hashOfLen(len(value))
	case "antivirus":
		kind = extract.Antivirus
	}
	return kind, value, ok && kind != extract.None
}

// hashOfLen returns the type of a hash that has n hexadecimal digits.
func hashOfLen(n int) extract.Type {
	switch n {
	case 32:
		return extract.MD5
	case 40:
		return extract.SHA1
	case 64:
		return extract.SHA256
	case 128:
		return extract.SHA512
	}
	return extract.None
}

// verdictNamed returns the verdict that is spelled name, or NoVerdict.
func verdictNamed(name []byte) intel.Verdict {
	for v := intel.Benign; v <= intel.Malicious; v++ {
		if v.String() == string(name) {
			return v
		}
	}
	return intel.NoVerdict
}

// isTime reports whether b is a time as Elasticsearch's date fields read it.
func isTime(b []byte) bool {
	_, err := time.Parse(time.RFC3339, string(b))
	return err == nil
}

// same reports whether x and y are the same JSON but for blanks, escapes, the order of members and what an index that makes
// _source up from its fields does to arrays: it orders them, leaves out doubles, and makes of one of one its element.
func (r *entryReader) same(x, y []byte) bool {
	if bytes.Equal(x, y) {
		return true
	}
	v, err := r.first.ParseBytes(x)
	if err != nil {
		return false
	}
	w, err := r.second.ParseBytes(y)
	return err == nil && sameValue(v, w)
}

func sameValue(v, w *fastjson.Value) bool {
	if v.Type() == fastjson.TypeArray || w.Type() == fastjson.TypeArray {
		return holdsAll(v, w) && holdsAll(w, v)
	}
	if v.Type() != w.Type() {
		return false
	}
	switch v.Type() {
	case fastjson.TypeObject:
		return sameObject(v.GetObject(), w.GetObject())
	case fastjson.TypeString:
		return bytes.Equal(v.GetStringBytes(), w.GetStringBytes())
	case fastjson.TypeNumber:
		return v.GetFloat64() == w.GetFloat64()
	}
	return true // null, true and false are types of their own
}

func sameObject(v, w *fastjson.Object) bool {
	same := v.Len() == w.Len()
	if !same {
		return false
	}
	w.Visit(func(key []byte, value *fastjson.Value) {
		other := v.Get(string(key))
		same = same && other != nil && sameValue(other, value)
	})
	return same
}

// holdsAll reports whether each element of w is one of v, of which each may be an array or the only element of one.
func holdsAll(v, w *fastjson.Value) bool {
	has := elements(v)
	return !slices.ContainsFunc(elements(w), func(want *fastjson.Value) bool {
		return !slices.ContainsFunc(has, func(e *fastjson.Value) bool { return sameValue(e, want) })
	})
}

func elements(v *fastjson.Value) []*fastjson.Value {
	if v.Type() == fastjson.TypeArray {
		return v.GetArray()
	}
	return []*fastjson.Value{v}
}
