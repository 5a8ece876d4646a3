package filter

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/filter/annotate"
)

// maxMessage is how much of a line over the limit becomes one document, in bytes; what is behind it becomes another.
const maxMessage = 16 << 20

// Documents says how lines become documents of an index. With it, and the form [Indexed], each line leaves as two: what
// the bulk API is to do, and the document. A line that is no JSON object becomes one, as in [NDJSON], with the time that
// it states, its file, offset and host; a JSON event without @timestamp gets one.
type Documents struct {
	Index *IndexName

	// Host is host.name of what text lines become.
	Host string

	// TimeFields are the top members of JSON events, or dotted fields, whose time becomes @timestamp where there is
	// none: an RFC 3339 text, or a number of seconds or milliseconds since 1970. The first that holds a time counts.
	TimeFields []string

	// IDField is the dotted field of JSON events that holds an ID of their own; empty for none. Others that come from a
	// file get one from where they stand in it, so that to send them again changes nothing; the rest have none, because
	// two equal lines are two events.
	IDField string

	// Flat says of an index whether its documents get only the summary of their annotation, see [annotate.Annotator]. It
	// is asked for every document, from several goroutines at once, and may wait. nil stands for no.
	Flat func(index string) bool

	Stamped atomic.Int64 // documents that got the time of reading for want of their own
	Parts   atomic.Int64 // documents that are the rest of a line that was too long for one
}

// An indexer makes documents of the lines of one worker.
type indexer struct {
	*Documents
	scratch []byte
	head    []byte
	id      []byte
	file    string // the prefix of IDs is that of
	prefix  []byte
	path    string // the name of the file at hand,
	encoded []byte // and as JSON

	long     []byte // the line over the limit, as far as it has come
	longFrom int64  // its offset
}

// documents appends b's lines as documents.
func (a *Annotation) documents(dst []byte, b *Block) []byte {
	a.index.Documents = a.Documents
	a.local = counts{lines: int64(b.Lines)}
	now := time.Now()
	number := b.Line
	for rest := b.Data; len(rest) > 0; number++ {
		offset := b.Offset + int64(len(b.Data)-len(rest))
		var line []byte
		line, _, rest = cutLine(rest)
		verdict, event := a.find(line, now)
		a.tell(line, verdict, event, Place{now, b.Name, number})
		if a.leaves(verdict) {
			a.local.shown++
			dst = a.appendDocument(dst, line, event, Position{b.Name, b.ID, offset, number}, now)
		}
	}
	a.tally()
	return dst
}

// Plain appends b's lines as documents without looking into them: after a panic, when they cannot be trusted to be
// looked into, and a line that is no document would be no item either.
func (a *Annotation) Plain(dst []byte, b *Block) []byte {
	a.index.Documents = a.Documents
	a.hits = a.hits[:0]
	now := time.Now()
	number := b.Line
	for rest := b.Data; len(rest) > 0; number++ {
		offset := b.Offset + int64(len(b.Data)-len(rest))
		var line []byte
		line, _, rest = cutLine(rest)
		a.clock.read = false
		dst = a.appendDocument(dst, line, bytes.HasPrefix(line, []byte("{")), Position{b.Name, b.ID, offset, number}, now)
	}
	a.Tally.add(counts{lines: int64(b.Lines), shown: int64(b.Lines)})
	return dst
}

func (a *Annotation) appendDocument(dst, line []byte, event bool, at Position, now time.Time) []byte {
	x := &a.index
	if event {
		if v, err := a.parser.ParseBytes(line[bytes.IndexByte(line, '{'):]); err == nil {
			return a.appendEventDocument(dst, line, v, at, now)
		}
	}
	when, stated := a.clock.at(line, now, a.Zone)
	if !stated {
		x.Stamped.Add(1)
	}
	x.head = x.appendHead(x.head[:0], when, at)
	x.id = x.appendPositionID(x.id[:0], at)
	name := x.Index.Name(nil, when)
	dst = appendAction(dst, name, x.id)
	a.Annotator.Flat = x.Flat != nil && x.Flat(name)
	dst = a.Annotator.AppendWrapped(dst, x.head, line, a.hits)
	return append(dst, '\n')
}

// appendHead appends the members that a text line gets in front of its message.
func (x *indexer) appendHead(dst []byte, when time.Time, at Position) []byte {
	dst = append(dst, `"@timestamp":"`...)
	dst = annotate.AppendTime(dst, when)
	dst = append(dst, `",`...)
	if at.Name != "-" {
		dst = append(dst, `"log":{"file":{"path":`...)
		if x.path != at.Name || len(x.encoded) == 0 {
			x.path, x.encoded = strings.Clone(at.Name), annotate.AppendString(x.encoded[:0], at.Name)
		}
		dst = append(dst, x.encoded...)
		dst = append(dst, `},"offset":`...)
		dst = strconv.AppendInt(dst, at.Offset, 10)
		dst = append(dst, "},"...)
	}
	if x.Host != "" {
		dst = append(dst, `"host":{"name":`...)
		dst = annotate.AppendString(dst, x.Host)
		dst = append(dst, "},"...)
	}
	return dst
}

func (a *Annotation) appendEventDocument(dst, line []byte, v *fastjson.Value, at Position, now time.Time) []byte {
	x := &a.index
	when, own := x.eventTime(v, now)
	id := x.eventID(v)
	if id == nil {
		x.id = x.appendPositionID(x.id[:0], at)
		id = x.id
	}
	name := x.Index.Name(v, when)
	dst = appendAction(dst, name, id)
	a.Annotator.Flat = x.Flat != nil && x.Flat(name)
	x.scratch, _ = a.Annotator.AppendJSON(x.scratch[:0], line, a.hits)
	document := x.scratch[bytes.IndexByte(x.scratch, '{'):]
	document = bytes.TrimRight(document, " \t\r\n")
	if !own {
		dst = append(dst, `{"@timestamp":"`...)
		dst = append(annotate.AppendTime(dst, when), '"')
		if document = bytes.TrimLeft(document[1:], " \t"); document[0] != '}' {
			dst = append(dst, ',')
		}
	}
	return append(append(dst, document...), '\n')
}

// eventTime returns the time of an event, and whether it has one that stays.
func (x *indexer) eventTime(v *fastjson.Value, now time.Time) (when time.Time, own bool) {
	if v.Exists("@timestamp") {
		when, ok := timeOf(v.Get("@timestamp"))
		if !ok {
			when = now // the server will judge; the index is that of today
		}
		return when, true
	}
	for _, field := range x.TimeFields {
		if when, ok := timeOf(fieldOf(v, field)); ok {
			return when, false
		}
	}
	x.Stamped.Add(1)
	return now, false
}

// timeOf reads a time as JSON events spell it.
func timeOf(v *fastjson.Value) (t time.Time, ok bool) {
	if v == nil {
		return t, false
	}
	if n, err := v.Float64(); err == nil {
		return timeOfNumber(n)
	}
	text, err := v.StringBytes()
	if err != nil {
		return t, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			return t, true
		}
	}
	if n, err := strconv.ParseFloat(string(text), 64); err == nil {
		return timeOfNumber(n)
	}
	return t, false
}

// timeOfNumber takes what would be long ago in milliseconds for seconds.
func timeOfNumber(n float64) (t time.Time, ok bool) {
	switch {
	case n >= 1e8 && n < 1e11:
		return time.UnixMicro(int64(n * 1e6)), true
	case n >= 1e11 && n < 1e14:
		return time.UnixMilli(int64(n)), true
	}
	return t, false
}

// fieldOf returns the value of a dotted field, spelled nested or dotted; nil when there is none.
func fieldOf(v *fastjson.Value, field string) *fastjson.Value {
	if found := v.Get(field); found != nil {
		return found
	}
	return v.Get(strings.Split(field, ".")...)
}

// maxID is the longest _id that the server takes, in bytes.
const maxID = 512

// eventID returns the ID that an event has of its own, or nil.
func (x *indexer) eventID(v *fastjson.Value) []byte {
	if x.IDField == "" {
		return nil
	}
	found := fieldOf(v, x.IDField)
	if found == nil || found.Type() != fastjson.TypeString && found.Type() != fastjson.TypeNumber {
		return nil
	}
	id, err := found.StringBytes()
	if err != nil {
		id = found.MarshalTo(nil)
	}
	if len(id) == 0 || len(id) > maxID {
		return nil
	}
	return id
}

// appendPositionID appends the ID of what stands at a position of a file: it says which file, on which host, and where.
func (x *indexer) appendPositionID(dst []byte, at Position) []byte {
	if at.ID == "" {
		return dst
	}
	if x.file != at.ID {
		sum := sha256.Sum256([]byte(x.Host + "\x00" + at.ID))
		x.file, x.prefix = strings.Clone(at.ID), base64.RawURLEncoding.AppendEncode(x.prefix[:0], sum[:15])
	}
	dst = append(append(dst, x.prefix...), '-')
	return strconv.AppendInt(dst, at.Offset, 10)
}

// appendAction appends the line of the bulk API that creates a document.
func appendAction(dst []byte, index string, id []byte) []byte {
	dst = append(dst, `{"create":{"_index":`...)
	dst = annotate.AppendString(dst, index)
	if len(id) > 0 {
		dst = append(dst, `,"_id":`...)
		dst = annotate.AppendString(dst, id)
	}
	return append(dst, "}}\n"...)
}

// longDocument collects the pieces of a line over the limit, which becomes one document, or one for each maxMessage
// bytes. It is not looked into.
func (a *Annotation) longDocument(dst []byte, b *Block) []byte {
	x := &a.index
	x.Documents = a.Documents
	if b.First {
		x.long, x.longFrom = x.long[:0], b.Offset
	}
	now := time.Now()
	for rest := b.Data; len(rest) > 0; {
		n := min(maxMessage-len(x.long), len(rest))
		x.long, rest = append(x.long, rest[:n]...), rest[n:]
		if len(x.long) == maxMessage && !(b.Last && len(rest) == 0) {
			dst = a.appendLong(dst, x.long, b, now)
			x.Parts.Add(1)
			x.longFrom += int64(len(x.long))
			x.long = x.long[:0]
		}
	}
	if b.Last {
		line, _, _ := cutLine(x.long)
		dst = a.appendLong(dst, line, b, now)
		x.long = kept(x.long)
	}
	return dst
}

func (a *Annotation) appendLong(dst, line []byte, b *Block, now time.Time) []byte {
	a.hits, a.clock.read = a.hits[:0], false
	event := bytes.HasPrefix(line, []byte("{"))
	return a.appendDocument(dst, line, event, Position{b.Name, b.ID, a.index.longFrom, b.Line}, now)
}
