package extract

import (
	"bytes"
	"unicode/utf8"
)

// maxPath bounds the dotted path of a field, in bytes; the names of deeper ones are left out of it, so that a line of
// nothing but nesting costs no more than any other.
const maxPath = 1024

// eventStart returns where the JSON object of an event may begin, or -1: at a '{', behind a byte order mark, blanks,
// and syslog's @cee: cookie.
func eventStart(line []byte) int {
	i := 0
	if bytes.HasPrefix(line, []byte("\ufeff")) {
		i = 3
	}
	i = skipSpace(line, i)
	if bytes.HasPrefix(line[i:], []byte("@cee:")) {
		i = skipSpace(line, i+len("@cee:"))
	}
	if i < len(line) && line[i] == '{' {
		return i
	}
	return -1
}

func skipSpace(t []byte, i int) int {
	for i < len(t) && (t[i] == ' ' || t[i] == '\t' || t[i] == '\n' || t[i] == '\r') {
		i++
	}
	return i
}

// A walker goes through the members of one JSON object (RFC 8259). Its memory grows with the depth, a few bytes a
// level, and is used again for the next line.
type walker struct {
	open    []int32 // an entry per object or array that is open: the length of path outside, or inArray
	path    []byte
	escapes bool // a backslash occurs in the text
	nested  bool // the text is a string of an event: names are not fields
	message bool // a member "message" at the top
}

// inArray marks an array among the open ones; its elements have the array's path.
const inArray = -1

// event scans the string values of the JSON object that is the whole of v. It returns false when v is no JSON object
// in UTF-8; matches that were appended by then are the caller's to forget.
func (s *Scanner) event(v *view) bool {
	start := len(s.dst)
	if !s.walk(&s.outer, v, false) {
		return false
	}
	if s.outer.message && s.Fields.skipsOriginal() {
		s.forget(start, "event.original")
	}
	return true
}

// forget takes back the matches in field from s.dst[start] on.
func (s *Scanner) forget(start int, field string) {
	kept := s.dst[:start]
	for _, m := range s.dst[start:] {
		if m.Field != field {
			kept = append(kept, m)
		}
	}
	s.dst = kept
}

// walk checks that the text of v is one JSON object, and scans its string values on the way.
func (s *Scanner) walk(w *walker, v *view, nested bool) bool {
	t := v.text
	if !wellEncoded(t) {
		return false
	}
	*w = walker{open: w.open[:0], path: w.path[:0], escapes: bytes.IndexByte(t, '\\') >= 0, nested: nested}
	i := skipSpace(t, 0)
	if i == len(t) || t[i] != '{' {
		return false
	}
	for {
		next, entered := s.value(w, v, i)
		if next < 0 {
			return false
		}
		if i = next; entered {
			continue
		}
		if i = s.afterValue(w, t, i); i < 0 {
			return false
		}
		if len(w.open) == 0 {
			return skipSpace(t, i) == len(t)
		}
	}
}

// value reads the value at t[i] and returns where it ends, or -1. An object or array that is not empty is entered: the
// first value in it begins there.
func (s *Scanner) value(w *walker, v *view, i int) (next int, entered bool) {
	t := v.text
	if i >= len(t) {
		return -1, false
	}
	switch t[i] {
	case '"':
		end := stringEnd(t, i)
		if end < 0 {
			return -1, false
		}
		return end, s.stringValue(w, v, i+1, end-1)
	case '{':
		if i = skipSpace(t, i+1); i < len(t) && t[i] == '}' {
			return i + 1, false
		}
		w.open = append(w.open, int32(len(w.path)))
		return w.member(t, i), true
	case '[':
		if i = skipSpace(t, i+1); i < len(t) && t[i] == ']' {
			return i + 1, false
		}
		w.open = append(w.open, inArray)
		return i, true
	}
	return scalarEnd(t, i), false
}

// afterValue closes what ends behind a value and returns where the next value begins, or -1. It returns with nothing
// open when the object was closed.
func (s *Scanner) afterValue(w *walker, t []byte, i int) int {
	for len(w.open) > 0 {
		i = skipSpace(t, i)
		if i >= len(t) {
			return -1
		}
		top := w.open[len(w.open)-1]
		switch {
		case t[i] == ',' && top == inArray:
			return skipSpace(t, i+1)
		case t[i] == ',':
			w.path = w.path[:top]
			return w.member(t, skipSpace(t, i+1))
		case t[i] == '}' && top != inArray:
			w.path = w.path[:top]
		case t[i] != ']' || top != inArray:
			return -1
		}
		w.open = w.open[:len(w.open)-1]
		i++
	}
	return i
}

// member reads the name and colon at t[i], adds the name to the path and returns where the value begins, or -1.
func (w *walker) member(t []byte, i int) int {
	if i >= len(t) || t[i] != '"' {
		return -1
	}
	end := stringEnd(t, i)
	if end < 0 {
		return -1
	}
	if !w.nested {
		w.enter(t[i+1 : end-1])
	}
	i = skipSpace(t, end)
	if i >= len(t) || t[i] != ':' {
		return -1
	}
	return skipSpace(t, i+1)
}

// enter adds name to the path.
func (w *walker) enter(name []byte) {
	if len(w.path)+1+len(name) > maxPath {
		return
	}
	if len(w.open) == 1 && string(name) == "message" {
		w.message = true
	}
	if len(w.path) > 0 {
		w.path = append(w.path, '.')
	}
	if !w.escapes || bytes.IndexByte(name, '\\') < 0 {
		w.path = append(w.path, name...)
		return
	}
	var decoded view
	decoded.reset(&view{text: name})
	decoded.unescape()
	w.path = append(w.path, decoded.text...)
}

// stringValue scans the string at v.text[start:end], between its quotes. It is never entered.
func (s *Scanner) stringValue(w *walker, v *view, start, end int) (entered bool) {
	if end-start < minIndicator {
		return false
	}
	if !w.nested {
		s.field, s.fieldState, s.fieldCopy = alias(w.path), fieldUnknown, ""
	}
	if w.escapes && bytes.IndexByte(v.text[start:end], '\\') >= 0 {
		s.decodedString(w, v, start, end)
		return false
	}
	if v.parent == nil {
		s.line = view{text: v.text[start:end], offset: v.offset + start}
		s.stringText(&s.line)
		return false
	}
	piece := s.nextStage(v)
	piece.copy(start, end)
	s.stringText(piece)
	return false
}

// minIndicator is the length of the shortest indicators, such as t.co and ::1.
const minIndicator = 3

// decodedString scans a string with escapes.
func (s *Scanner) decodedString(w *walker, v *view, start, end int) {
	raw := v
	if v.parent == nil {
		s.line = view{text: v.text[start:end], offset: v.offset + start}
		raw = &s.line
	} else {
		raw = s.nextStage(v)
		raw.copy(start, end)
	}
	decoded := s.nextStage(raw)
	decoded.unescape()
	if !w.nested && s.lookInside(decoded) {
		return
	}
	s.stringText(decoded)
}

// lookInside scans a string that is a JSON object again, and reports whether it is one.
func (s *Scanner) lookInside(v *view) bool {
	if i := skipSpace(v.text, 0); i == len(v.text) || v.text[i] != '{' {
		return false
	}
	before := len(s.dst)
	if s.walk(&s.inner, v, true) {
		return true
	}
	s.dst = s.dst[:before]
	return false
}

// stringText scans one decoded string of an event: as a detection name where the field holds those, else as text.
func (s *Scanner) stringText(v *view) {
	if s.detectionField(v) {
		return
	}
	s.text(v)
}

// wellEncoded reports whether t is UTF-8; JSON allows nothing else.
func wellEncoded(t []byte) bool { return utf8.Valid(t) }

// stringEnd returns where the string whose quote is t[i] ends, behind its last quote, or -1 when it has no end, holds
// a control character or an escape that JSON does not have.
func stringEnd(t []byte, i int) int {
	for i++; i < len(t); i++ {
		switch c := t[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i = escapeEnd(t, i) - 1; i < 0 {
				return -1
			}
		}
	}
	return -1
}

// escapeEnd returns where the escape whose backslash is t[i] ends, or 0.
func escapeEnd(t []byte, i int) int {
	if i+1 >= len(t) {
		return 0
	}
	switch t[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if len(t) >= i+6 && allHex(t[i+2:i+6]) {
			return i + 6
		}
	}
	return 0
}

// scalarEnd returns where the number or literal at t[i] ends, or -1.
func scalarEnd(t []byte, i int) int {
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(t[i:], []byte(literal)) {
			return i + len(literal)
		}
	}
	return numberEnd(t, i)
}

func numberEnd(t []byte, i int) int {
	if i < len(t) && t[i] == '-' {
		i++
	}
	whole := digitsEnd(t, i)
	if whole == i || t[i] == '0' && whole > i+1 {
		return -1
	}
	i = whole
	if i < len(t) && t[i] == '.' {
		if whole = digitsEnd(t, i+1); whole == i+1 {
			return -1
		}
		i = whole
	}
	if i < len(t) && t[i]|0x20 == 'e' {
		i++
		if i < len(t) && (t[i] == '+' || t[i] == '-') {
			i++
		}
		if whole = digitsEnd(t, i); whole == i {
			return -1
		}
		i = whole
	}
	return i
}

func digitsEnd(t []byte, i int) int {
	for i < len(t) && class[t[i]]&isDigit != 0 {
		i++
	}
	return i
}

// unescape writes the parent's text to v with its JSON escapes decoded. Halves of surrogate pairs that stand alone
// become U+FFFD. The escapes have been checked.
func (v *view) unescape() {
	t, copied := v.parent.text, 0
	for i := 0; i < len(t); {
		n := bytes.IndexByte(t[i:], '\\')
		if n < 0 {
			break
		}
		i += n
		v.copy(copied, i)
		r, end := decodeEscape(t, i)
		v.put(r, i, end)
		i, copied = end, end
	}
	v.copy(copied, len(t))
}

var shortEscapes = [256]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\', '/': '/'}

// decodeEscape returns the character that the escape at t[i] stands for, and where it ends.
func decodeEscape(t []byte, i int) (r rune, end int) {
	if t[i+1] != 'u' {
		return shortEscapes[t[i+1]], i + 2
	}
	r, end = hex4(t[i+2:]), i+6
	if 0xD800 <= r && r < 0xDC00 && end+6 <= len(t) && t[end] == '\\' && t[end+1] == 'u' {
		if low := hex4(t[end+2:]); 0xDC00 <= low && low < 0xE000 {
			return (r-0xD800)<<10 | (low - 0xDC00) + 0x10000, end + 6
		}
	}
	if 0xD800 <= r && r < 0xE000 {
		r = utf8.RuneError
	}
	return r, end
}

func hex4(t []byte) (r rune) {
	for _, c := range t[:4] {
		r = r<<4 | rune(hexValue(c))
	}
	return r
}
