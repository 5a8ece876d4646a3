package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

var (
	errNoRecord  = errors.New("not a JSON object of this format")
	errTooLarge  = errors.New("value is too large")
	errManyParts = errors.New("value has too many parts")
)

// The bounds of one JSON value that is held as a whole: bytes, and parts, each of which takes about 80 bytes once
// parsed.
const (
	maxRecord = 16 << 20
	maxParts  = 1 << 19
	maxKey    = 64 << 10
)

// An errValue is what is wrong with one JSON value, behind which the reading goes on.
type errValue struct{ error }

// A jsonReader walks JSON of any size: objects and arrays member by member, each of which is walked, held or skipped.
// It checks less than a parser, so that what it skips may be no JSON; what it holds is.
type jsonReader struct {
	r      io.Reader
	buf    []byte
	pos    int   // of what is read next, in buf
	start  int   // of buf, in r
	end    error // why r gives no more
	path   []step
	parser fastjson.Parser
}

// A step is a member of an object by its name, or of an array by its index.
type step struct {
	name  string
	index int
}

func newJSON(r io.Reader, path ...step) *jsonReader {
	return &jsonReader{r: r, buf: make([]byte, 0, 64<<10), path: path}
}

// where returns the path of the value at hand, such as "Event.Attribute[3]".
func (d *jsonReader) where() string {
	var b strings.Builder
	for _, s := range d.path {
		switch {
		case s.name == "":
			fmt.Fprintf(&b, "[%d]", s.index)
		case b.Len() > 0:
			b.WriteString("." + shorten(s.name))
		default:
			b.WriteString(shorten(s.name))
		}
	}
	if b.Len() == 0 {
		return "the whole"
	}
	return b.String()
}

// fail returns the error that ends the reading: JSON is broken here.
func (d *jsonReader) fail(what string) error {
	if d.pos >= len(d.buf) && d.end != nil {
		if d.end != io.EOF {
			return fmt.Errorf("%s: %w", d.where(), d.end)
		}
		return fmt.Errorf("%s: JSON is cut off", d.where())
	}
	return fmt.Errorf("%s: not JSON at byte %d: %s", d.where(), d.start+d.pos, what)
}

// fill reads more behind what is held from keep on, and returns how far the held bytes have moved; ok is false at the
// end.
func (d *jsonReader) fill(keep int) (moved int, ok bool) {
	if d.end != nil {
		return 0, false
	}
	if keep > 0 {
		n := copy(d.buf, d.buf[keep:])
		d.buf = d.buf[:n]
		d.pos -= keep
		d.start += keep
		moved = keep
	}
	if len(d.buf) == cap(d.buf) {
		d.buf = append(d.buf, make([]byte, cap(d.buf))...)[:len(d.buf)]
	}
	for range 100 {
		n, err := d.r.Read(d.buf[len(d.buf):cap(d.buf)])
		d.buf = d.buf[:len(d.buf)+n]
		if d.end = err; n > 0 {
			return moved, true
		}
		if err != nil {
			return moved, false
		}
	}
	d.end = io.ErrNoProgress
	return moved, false
}

// peek returns the first byte of what comes next, behind blanks; 0 at the end.
func (d *jsonReader) peek() byte {
	for {
		for d.pos < len(d.buf) {
			switch c := d.buf[d.pos]; c {
			case ' ', '\t', '\r', '\n':
				d.pos++
			default:
				return c
			}
		}
		if _, ok := d.fill(d.pos); !ok {
			return 0
		}
	}
}

// documents calls do before each of the values that follow one another; most files hold one.
func (d *jsonReader) documents(do func() error) error {
	for d.peek() != 0 {
		if err := do(); err != nil {
			return err
		}
	}
	if d.end != nil && d.end != io.EOF {
		return d.fail("")
	}
	return nil
}

// object calls do for each member of an object; do reads or skips its value. Anything but an object is skipped.
func (d *jsonReader) object(do func(key string) error) error {
	if d.peek() != '{' {
		return d.skip()
	}
	if err := d.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		switch c := d.peek(); {
		case c == '}':
			d.pos++
			return nil
		case c == ',' && !first:
			d.pos++
		case !first:
			return d.fail("no comma between members")
		}
		if d.peek() == '}' { // a comma too much is forgiven
			continue
		}
		key, err := d.key()
		if err != nil {
			return err
		}
		d.path = append(d.path, step{name: key})
		if err := do(key); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
	}
}

// enter passes over an opening bracket.
func (d *jsonReader) enter() error {
	const maxDepth = 100
	if len(d.path) > maxDepth {
		return errors.New("JSON is nested too deeply")
	}
	d.pos++
	return nil
}

// key reads the name of a member and the colon behind it.
func (d *jsonReader) key() (string, error) {
	if d.peek() != '"' {
		return "", d.fail("no name of a member")
	}
	raw, err := d.scan(maxKey, nil)
	if err != nil {
		return "", d.fatal(err)
	}
	key := string(raw[1 : len(raw)-1])
	if bytes.IndexByte(raw, '\\') >= 0 && json.Unmarshal(raw, &key) != nil {
		return "", d.fail("no name of a member")
	}
	if d.peek() != ':' {
		return "", d.fail("no colon behind the name")
	}
	d.pos++
	if key == "" {
		key = `""` // a path has names only
	}
	return key, nil
}

// array calls do for each element of an array; do reads or skips it. Anything but an array is skipped.
func (d *jsonReader) array(do func() error) error {
	if d.peek() != '[' {
		return d.skip()
	}
	if err := d.enter(); err != nil {
		return err
	}
	d.path = append(d.path, step{})
	for first := true; ; first = false {
		switch c := d.peek(); {
		case c == ']':
			d.pos++
			d.path = d.path[:len(d.path)-1]
			return nil
		case c == ',' && !first:
			d.pos++
		case !first:
			return d.fail("no comma between elements")
		}
		if d.peek() == ']' {
			continue
		}
		if err := do(); err != nil {
			return err
		}
		d.path[len(d.path)-1].index++
	}
}

// raw returns the bytes of the next value, which are valid until the next call. An [errValue] says that it is too large
// and was passed over.
func (d *jsonReader) raw() ([]byte, error) {
	if d.peek() == 0 {
		return nil, d.fail("")
	}
	return d.scan(maxRecord, nil)
}

// value returns the next value, which is valid until the next call. An [errValue] says that it is none that can be
// used, and was passed over.
func (d *jsonReader) value() (*fastjson.Value, error) {
	raw, err := d.raw()
	if err != nil {
		return nil, err
	}
	if bytes.Count(raw, []byte(","))+bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > maxParts {
		return nil, errValue{errManyParts}
	}
	v, err := d.parser.ParseBytes(raw)
	if err != nil {
		return nil, errValue{errors.New("not JSON")}
	}
	return v, nil
}

// skip passes over the next value.
func (d *jsonReader) skip() error { return d.copy(io.Discard) }

// copy writes the next value, however large, to w.
func (d *jsonReader) copy(w io.Writer) error {
	if d.peek() == 0 {
		return d.fail("")
	}
	_, err := d.scan(0, w)
	return err
}

// fatal returns err as one that ends the reading.
func (d *jsonReader) fatal(err error) error {
	var bad errValue
	if errors.As(err, &bad) {
		return fmt.Errorf("%s: %w", d.where(), bad.error)
	}
	return err
}

// scan passes over the next value, which must have begun at d.pos. Up to most bytes of it are held and returned; with a
// writer all of it is written instead.
func (d *jsonReader) scan(most int, w io.Writer) ([]byte, error) {
	s := scanner{}
	from, tooLarge := d.pos, false
	for i := d.pos; ; {
		n, done := s.scan(d.buf[i:])
		i += n
		d.pos = i
		if done {
			break
		}
		if w == nil && i-from > most {
			tooLarge, w = true, io.Discard
		}
		if w != nil {
			if _, err := w.Write(d.buf[from:i]); err != nil {
				return nil, err
			}
			from = i
		}
		moved, ok := d.fill(from)
		from, i = from-moved, i-moved
		if !ok {
			if s.scalar() && d.end == io.EOF {
				break
			}
			return nil, d.fail("")
		}
	}
	switch {
	case s.bad || d.pos == from && w == nil:
		return nil, d.fail("no value")
	case tooLarge || w == nil && d.pos-from > most:
		return nil, errValue{errTooLarge}
	case w != nil:
		_, err := w.Write(d.buf[from:d.pos])
		return nil, err
	}
	return d.buf[from:d.pos], nil
}

// A scanner finds the end of one JSON value that comes in pieces.
type scanner struct {
	depth    int
	inString bool
	escaped  bool
	bare     bool // a number or word, which ends where something else begins
	bad      bool
}

// scalar reports whether the end of the input is the end of the value.
func (s *scanner) scalar() bool { return s.bare && s.depth == 0 }

// scan returns how much of data belongs to the value, and whether that is its end.
func (s *scanner) scan(data []byte) (n int, done bool) {
	for i := 0; i < len(data); i++ {
		if s.inString {
			end := s.string(data[i:])
			if i += end; i >= len(data) {
				return len(data), false
			}
			if s.depth == 0 {
				return i + 1, true
			}
			continue
		}
		switch c := data[i]; c {
		case '"':
			if s.scalar() {
				return i, true
			}
			s.inString = true
		case '{', '[':
			if s.scalar() {
				return i, true
			}
			s.depth++
		case '}', ']':
			if s.depth == 0 {
				s.bad = !s.bare
				return i, true
			}
			if s.depth--; s.depth == 0 {
				return i + 1, true
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if s.depth == 0 {
				s.bad = !s.bare
				return i, true
			}
		default:
			s.bare = s.bare || s.depth == 0
		}
	}
	return len(data), false
}

// string returns where in data, which begins within a string, its closing quote stands; len(data) when it does not.
func (s *scanner) string(data []byte) int {
	for i := 0; i < len(data); i++ {
		switch {
		case s.escaped:
			s.escaped = false
		case data[i] == '\\':
			s.escaped = true
		case data[i] == '"':
			s.inString = false
			return i
		}
	}
	return len(data)
}

// usableValue returns the next value of d. One that cannot be used is refused, and v is nil, as it is with an error.
func (l *list) usableValue(d *jsonReader) (v *fastjson.Value, err error) {
	v, err = d.value()
	var bad errValue
	if errors.As(err, &bad) {
		l.refuse("", bad.error)
		return nil, nil
	}
	return v, err
}

// textOf returns what a string, number or truth value says, and "" for anything else.
func textOf(v *fastjson.Value) string {
	if v == nil {
		return ""
	}
	switch v.Type() {
	case fastjson.TypeString:
		s := string(v.GetStringBytes())
		if !utf8.ValidString(s) {
			s = strings.ToValidUTF8(s, "\ufffd")
		}
		return strings.TrimSpace(s)
	case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
		return string(v.MarshalTo(nil))
	}
	return ""
}

// truth returns what a truth value says that may be written as a number or as text, and otherwise when there is none.
func truth(v *fastjson.Value, otherwise bool) bool {
	b, err := strconv.ParseBool(textOf(v))
	if err != nil {
		return otherwise
	}
	return b
}
