package extract

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxPath bounds the dotted path of a field, in bytes; the names of deeper ones are left out of it, so that a line of
// nothing but nesting costs no more than any other.
const (
	maxPath  = 1024
	maxNames = 64 // levels that have a part in it

	// maxDepth bounds how deep an event is nested, as encoding/json does; what is deeper is read as text.
	maxDepth = 10_000
)

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
	for i < len(t) && t[i] <= ' ' && isSpace(t[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// A walker goes through the members of one JSON object (RFC 8259). Its memory grows with the depth, a few bytes a
// level, and is used again for the next line.
type walker struct {
	text    []byte
	open    []level // the objects and arrays that are open
	path    []byte  // of the string at hand, if it is built
	built   bool
	nested  bool // the text is a string of an event: its names tell what values are, but are no fields
	message bool // a member "message" at the top
}

// A level is an object with the bounds of the name of its member at hand, or an array, which has no names.
type level struct {
	array      bool
	start, end int
}

// fieldPath returns the dotted names of the string at hand. It is built when first asked for: most strings hold
// nothing. It is good until the next member.
func (w *walker) fieldPath() string {
	if !w.built {
		w.built, w.path = true, w.path[:0]
		for _, l := range w.open[:min(len(w.open), maxNames)] {
			if name := w.text[l.start:l.end]; !l.array && len(w.path)+1+len(name) <= maxPath {
				if len(w.path) > 0 {
					w.path = append(w.path, '.')
				}
				w.path = appendUnescaped(w.path, name)
			}
		}
	}
	return alias(w.path)
}

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
	if !utf8.Valid(t) {
		return false
	}
	*w = walker{text: t, open: w.open[:0], path: w.path[:0], nested: nested}
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
		end, escaped := stringEnd(t, i)
		if end < 0 {
			return -1, false
		}
		s.stringValue(w, v, i+1, end-1, escaped)
		return end, false
	case '{', '[':
		if len(w.open) == maxDepth {
			return -1, false
		}
	}
	switch t[i] {
	case '{':
		if i = skipSpace(t, i+1); i < len(t) && t[i] == '}' {
			return i + 1, false
		}
		w.open = append(w.open, level{})
		return w.member(t, i), true
	case '[':
		if i = skipSpace(t, i+1); i < len(t) && t[i] == ']' {
			return i + 1, false
		}
		w.open = append(w.open, level{array: true})
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
		array := w.open[len(w.open)-1].array
		switch {
		case t[i] == ',' && array:
			return skipSpace(t, i+1)
		case t[i] == ',':
			return w.member(t, skipSpace(t, i+1))
		case t[i] == '}' && array, t[i] == ']' && !array, t[i] != '}' && t[i] != ']':
			return -1
		}
		w.open, w.built = w.open[:len(w.open)-1], false
		i++
	}
	return i
}

// member reads the name and colon at t[i], which the path ends with from now on, and returns where the value begins,
// or -1.
func (w *walker) member(t []byte, i int) int {
	if i >= len(t) || t[i] != '"' {
		return -1
	}
	end, _ := stringEnd(t, i)
	if end < 0 {
		return -1
	}
	w.open[len(w.open)-1] = level{start: i + 1, end: end - 1}
	w.built = false
	if string(t[i+1:end-1]) == "message" && len(w.open) == 1 {
		w.message = true
	}
	i = skipSpace(t, end)
	if i >= len(t) || t[i] != ':' {
		return -1
	}
	return skipSpace(t, i+1)
}

// name returns the nth name of the path from its end, counted from 0, as it is written; nil if there are fewer.
func (w *walker) name(nth int) []byte {
	for i := len(w.open) - 1; i >= max(0, len(w.open)-maxNames); i-- {
		if l := w.open[i]; !l.array {
			if nth == 0 {
				return w.text[l.start:l.end]
			}
			nth--
		}
	}
	return nil
}

// stringValue scans the string at v.text[start:end], between its quotes.
func (s *Scanner) stringValue(w *walker, v *view, start, end int, escaped bool) {
	if end-start < minIndicator {
		return
	}
	s.names = w
	if !w.nested {
		s.fieldState = fieldUnknown
	}
	if escaped {
		s.decodedString(w, v, start, end)
		return
	}
	if v.parent == nil {
		s.line.text, s.line.offset = v.text[start:end], v.offset+start
		s.stringText(&s.line)
		return
	}
	piece := s.nextStage(v)
	piece.copy(start, end)
	s.stringText(piece)
}

// minIndicator is the length of the shortest indicators, such as t.co and ::1.
const minIndicator = 3

// decodedString scans a string with escapes.
func (s *Scanner) decodedString(w *walker, v *view, start, end int) {
	raw := v
	if v.parent == nil {
		s.line.text, s.line.offset = v.text[start:end], v.offset+start
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
	s.dst, s.names = s.dst[:before], &s.outer
	return false
}

// stringText scans one decoded string of an event: as a detection name where the field holds those, else as text.
func (s *Scanner) stringText(v *view) {
	if s.detectionField(v) || isQuiet(v.text) || isTimestamp(v.text) {
		return
	}
	s.text(v)
}

// isQuiet reports whether text is one word or a list of words that can hold nothing: most strings of most events.
func isQuiet(text []byte) bool {
	if len(text) >= minHash {
		return false
	}
	var marks byteClass
	for _, c := range text {
		marks |= class[c]
	}
	return marks&(isDot|isMark|isHigh|isBlank) == 0
}

// isTimestamp recognises the form of RFC 3339, which nearly every event has: 2006-01-02T15:04:05.000Z.
func isTimestamp(text []byte) bool {
	if len(text) < len("2006-01-02T15:04:05") || len(text) >= minHash || text[4] != '-' || text[7] != '-' ||
		text[10] != 'T' && text[10] != ' ' || text[13] != ':' || text[16] != ':' {
		return false
	}
	for i, c := range text {
		if !inTimestamp[c] && i != 10 && i != len(text)-1 {
			return false
		}
	}
	return true
}

var inTimestamp = func() (t [256]bool) {
	for _, c := range "0123456789:-.+" {
		t[c] = true
	}
	return t
}()

// stringEnd returns where the string whose quote is t[i] ends, behind its last quote, or -1 when it has no end, holds
// a control character or an escape that JSON does not have. escaped says whether there are escapes.
func stringEnd(t []byte, i int) (end int, escaped bool) {
	for i = runEnd(t, i+1); i < len(t); i = runEnd(t, i) {
		switch t[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = escapeEnd(t, i); i > 0 {
				continue
			}
		}
		return -1, false
	}
	return -1, false
}

// runEnd returns where the bytes from t[i] on end that stand for themselves in a JSON string: at a quote, backslash or
// control character, or at the end. It reads eight bytes at a time and finds those bytes by the borrow of a
// subtraction. (bytes.IndexByte costs more for strings as short as most are, and has to be told that there are no
// backslashes.)
func runEnd(t []byte, i int) int {
	const eachByte, topBits = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(t); i += 8 {
		x := binary.LittleEndian.Uint64(t[i:])
		quote, slash := x^eachByte*'"', x^eachByte*'\\'
		ends := (x-eachByte*' ')&^x | (quote-eachByte)&^quote | (slash-eachByte)&^slash
		if ends &= topBits; ends != 0 {
			return i + bits.TrailingZeros64(ends)/8
		}
	}
	for i < len(t) && !endsRun[t[i]] {
		i++
	}
	return i
}

// endsRun holds the bytes of a JSON string that are more than themselves, or not allowed.
var endsRun = func() (t [256]bool) {
	for c := range byte(' ') {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

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
	literal := ""
	switch t[i] {
	case 't':
		literal = "true"
	case 'f':
		literal = "false"
	case 'n':
		literal = "null"
	default:
		return numberEnd(t, i)
	}
	if !bytes.HasPrefix(t[i:], []byte(literal)) {
		return -1
	}
	return i + len(literal)
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

// appendUnescaped appends text, whose escapes have been checked, with its escapes decoded.
func appendUnescaped(dst, text []byte) []byte {
	for {
		n := bytes.IndexByte(text, '\\')
		if n < 0 {
			return append(dst, text...)
		}
		r, end := decodeEscape(text, n)
		dst = utf8.AppendRune(append(dst, text[:n]...), r)
		text = text[end:]
	}
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
