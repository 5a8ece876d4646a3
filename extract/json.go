package extract

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth bounds how deep an event is nested, as encoding/json does; what is deeper is read as text.
const maxDepth = 10_000

// eventStart returns where the JSON object of an event may begin, or -1: at a '{', behind a byte order mark, blanks,
// and syslog's @cee: cookie.
func eventStart(line []byte) int {
	if len(line) == 0 || !startsEvent[line[0]] {
		return -1 // most lines that are none
	}
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

// startsEvent holds the first bytes of lines that may be events.
var startsEvent = [256]bool{'{': true, '@': true, '\xef': true, ' ': true, '\t': true, '\r': true, '\n': true}

func skipSpace(t []byte, i int) int {
	for i < len(t) && t[i] <= ' ' && isSpace(t[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// A walker goes through one JSON object (RFC 8259) from leaf to leaf: to the values that are no objects and arrays, or
// empty ones. Its memory grows with the depth, a few bytes a level, and is used again for the next line.
type walker struct {
	fields  fieldTree
	at      *field // whose value is next or was last
	nested  bool   // the text is a string of an event: its names tell what values are, but are no fields
	escapes []int  // where backslashes stand in the string at hand, from its first byte on
	message bool   // there is a leaf in the member "message" at the top
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
	w.fields.reset(w.at)
	w.at, w.nested, w.message = &w.fields.root, nested, false
	i := skipSpace(t, 0)
	if i == len(t) || t[i] != '{' {
		return false
	}
	if end := skipSpace(t, i+1); end < len(t) && t[end] == '}' {
		return skipSpace(t, end+1) == len(t)
	}
	for {
		if i = w.nextLeaf(t, i); i < 0 {
			return false
		}
		if w.at == &w.fields.root {
			return skipSpace(t, i) == len(t)
		}
		w.message = w.message || w.at.message
		if t[i] == '"' {
			i = s.stringValue(w, v, i)
		} else {
			i = scalarEnd(t, i)
		}
		if i < 0 {
			return false
		}
	}
}

// nextLeaf goes on from t[i], behind a leaf or before the event, and returns where the next leaf begins, whose field is
// at from then on, or -1. At the end of the event that is its root.
func (w *walker) nextLeaf(t []byte, i int) int {
	f := w.at
	if n, to := f.step(t[i:]); to != nil {
		if next := skipSpace(t, i+n); next < len(t) && !isBracket[t[next]] || to.parent == nil {
			w.at = to
			return next
		}
	}
	from, kept := i, f.kept // if it is not, it may soon be another
	if f.parent != nil {
		i = w.close(t, i)
	}
	if i >= 0 && (w.at != &w.fields.root || f == w.at) {
		i = w.open(t, i)
	}
	if i >= 0 && kept {
		f.learnStep(t[from:], i-from, w.at)
	}
	return i
}

// isBracket holds the brackets that open and close objects and arrays.
var isBracket = [256]bool{'{': true, '}': true, '[': true, ']': true}

// close leaves the objects and arrays that end at t[i], behind a value, and returns where the next value begins, or -1;
// at the end of the event where that is.
func (w *walker) close(t []byte, i int) int {
	for {
		i = skipSpace(t, i)
		if i >= len(t) {
			return -1
		}
		switch f := w.at; {
		case t[i] == ',' && f.element:
			return skipSpace(t, i+1)
		case t[i] == ',':
			w.at = w.fields.leave(f)
			return w.member(t, skipSpace(t, i+1))
		case t[i] == '}' && !f.element, t[i] == ']' && f.element:
			w.at = w.fields.leave(f)
		default:
			return -1
		}
		if i++; w.at == &w.fields.root {
			return i
		}
	}
}

// open enters the objects and arrays that begin at t[i], where a value does, up to the first leaf, and returns where
// that begins, or -1.
func (w *walker) open(t []byte, i int) int {
	for i >= 0 && i < len(t) && (t[i] == '{' || t[i] == '[') {
		inner := skipSpace(t, i+1)
		switch {
		case inner < len(t) && t[inner] == t[i]+2: // the closing bracket
			return i
		case w.at.depth == maxDepth:
			return -1
		case t[i] == '{':
			i = w.member(t, inner)
		default:
			w.at, i = w.fields.child(w.at, nil, true), inner
		}
	}
	if i >= len(t) {
		return -1
	}
	return i
}

// member reads the name and colon at t[i] of a member of the object at hand, enters it, and returns where its value
// begins, or -1.
func (w *walker) member(t []byte, i int) int {
	if i >= len(t) || t[i] != '"' {
		return -1
	}
	end, _ := stringEnd(t, i, w.escapes[:0])
	if end < 0 {
		return -1
	}
	w.at = w.fields.child(w.at, t[i+1:end-1], false)
	i = skipSpace(t, end)
	if i >= len(t) || t[i] != ':' {
		return -1
	}
	return skipSpace(t, i+1)
}

// stringValue scans the string whose quote is v.text[i], and returns where it ends, behind its last quote, or -1.
func (s *Scanner) stringValue(w *walker, v *view, i int) int {
	f := w.at
	if n := f.heldNothing(v.text[i+1:]); n > 0 && !s.Explain && !w.nested {
		return i + 1 + n
	}
	end, escapes := stringEnd(v.text, i, w.escapes[:0])
	if end-i-2 < minIndicator {
		return end
	}
	s.names = f
	if !w.nested {
		s.field = f
	}
	found := len(s.dst)
	w.escapes = escapes
	if len(escapes) > 0 {
		s.decodedString(w, v, i+1, end-1)
	} else {
		s.stringText(s.piece(v, i+1, end-1))
	}
	if len(s.dst) == found {
		f.learnNothing(v.text[i+1:], end-i-1)
	}
	return end
}

// piece returns v.text[start:end], a string of the event or of the JSON inside of it.
func (s *Scanner) piece(v *view, start, end int) *view {
	if v.parent == nil {
		s.line.text, s.line.offset = v.text[start:end], v.offset+start
		return &s.line
	}
	p := s.nextStage(v, start)
	p.take(end)
	return p
}

// minIndicator is the length of the shortest indicators, such as t.co and ::1.
const minIndicator = 3

// decodedString scans a string with escapes.
func (s *Scanner) decodedString(w *walker, v *view, start, end int) {
	decoded := s.nextStage(s.piece(v, start, end), 0)
	decoded.unescape(w.escapes)
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
	s.dst, s.names = s.dst[:before], s.field
	return false
}

// stringText scans one decoded string of an event: as a detection name where the field holds those, else as text.
func (s *Scanner) stringText(v *view) {
	if s.detectionField(v) || holdsNothing(v.text) {
		return
	}
	s.text(v)
}

// holdsNothing reports whether text is a word, a list of words or a time that can hold nothing: most strings of most
// events.
func holdsNothing(text []byte) bool {
	if len(text) >= minHash {
		return false
	}
	if isTimestamp(text) {
		return true
	}
	marks := marksOf(text)
	return marks&(isDot|isMark|isHigh|isBlank) == 0 && marks&isDOT != isDOT
}

// isTimestamp recognises the form of RFC 3339, which nearly every event has: 2006-01-02T15:04:05.000Z.
func isTimestamp(text []byte) bool {
	const form = "0000-00-00T00:00:00"
	if len(text) <= len(form) || text[4] != '-' || text[10] != 'T' {
		return false
	}
	for i, c := range []byte(form) {
		if text[i] != c && (c != '0' || class[text[i]]&isDigit == 0) {
			return false
		}
	}
	for _, c := range text[len(form) : len(text)-1] {
		if !inFraction[c] {
			return false
		}
	}
	return true
}

// inFraction holds what stands behind the seconds of a time, but for the last character.
var inFraction = func() (t [256]bool) {
	for _, c := range "0123456789:-.+" {
		t[c] = true
	}
	return t
}()

// stringEnd returns where the string whose quote is t[i] ends, behind its last quote, or -1 when it has no end, is not
// UTF-8, or holds a control character or an escape that JSON does not have. It appends to escapes where those stand,
// from the first byte of the string on.
func stringEnd(t []byte, i int, escapes []int) (end int, found []int) {
	start := i + 1
	i, foreign := runEnd(t, start)
	for i < len(t) && t[i] == '\\' {
		escapes = append(escapes, i-start)
		if i = escapeEnd(t, i); i == 0 {
			return -1, nil
		}
		var more bool
		i, more = runEnd(t, i)
		foreign = foreign || more
	}
	if i == len(t) || t[i] != '"' || foreign && !utf8.Valid(t[start:i]) {
		return -1, nil
	}
	return i + 1, escapes
}

// runEnd returns where the bytes from t[i] on end that stand for themselves in a JSON string: at a quote, backslash or
// control character, or at the end. foreign is true if some of them are beyond ASCII; it may be when only those behind
// are. It reads eight bytes at a time and finds the end by the borrow of a subtraction. (bytes.IndexByte costs more for
// strings as short as most are, and has to be told that there are no backslashes.)
func runEnd(t []byte, i int) (end int, foreign bool) {
	const eachByte, topBits = 0x0101010101010101, 0x8080808080808080
	high := uint64(0)
	for ; i <= len(t)-8; i += 8 {
		x := binary.LittleEndian.Uint64(t[i : i+8])
		high |= x
		quote, slash := x^eachByte*'"', x^eachByte*'\\'
		ends := ((x - eachByte*' ') | (quote - eachByte) | (slash - eachByte)) &^ x & topBits
		if ends != 0 {
			return i + bits.TrailingZeros64(ends)/8, high&topBits != 0
		}
	}
	for i < len(t) && !endsRun[t[i]] {
		high |= uint64(t[i])
		i++
	}
	return i, high&topBits != 0 || high&0x80 != 0
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

// scalarEnd returns where the number, literal, or empty object or array at t[i] ends, or -1.
func scalarEnd(t []byte, i int) int {
	literal := ""
	switch t[i] {
	case '{', '[':
		return skipSpace(t, i+1) + 1
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

// unescape writes the parent's text to v with its JSON escapes decoded, whose backslashes are at escapes. Halves of
// surrogate pairs that stand alone become U+FFFD. The escapes have been checked.
func (v *view) unescape(escapes []int) {
	t, done := v.parent.text, 0
	for _, i := range escapes {
		if i < done {
			continue // the second half of a pair
		}
		r, end := decodeEscape(t, i)
		v.replace(i, end, r)
		done = end
	}
	v.take(len(t))
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
