package extract

import "bytes"

// Defang says which defanged forms are read as what they mean. Percent-escapes, the syntax of URLs, always are.
type Defang uint8

// The sets of forms. The filter uses DefangCommon, because log lines hold regular expressions such as evil\.com.
const (
	DefangOff    Defang = iota
	DefangCommon        // [.] (.) {.} [:] [://] [@] and any scheme, such as hxxp
	DefangAll           // every form that is known: see docs/extraction.md
)

// refang writes the text of v's parent to v with its defanged forms read.
func (s *Scanner) refang(v *view) {
	t := v.parent.text
	for i := 0; i < len(t); {
		if class[t[i]]&(isMark|isHigh|isDot|isDash) == 0 && t[i]|0x20 != 'd' && t[i] != 'A' {
			i++
			continue
		}
		f, ok := s.Defang.form(t, i)
		if !ok {
			i++
			continue
		}
		if f.means == 0 {
			v.remove(f.from, f.to)
		} else {
			v.replace(f.from, f.to, f.means)
		}
		i = f.to
	}
	v.take(len(t))
}

// A form is a defanged character: what stands at from:to, and what it means; 0 means nothing at all.
type form struct {
	means    rune
	from, to int
}

// form returns the defanged form that t[i] is a part of.
func (d Defang) form(t []byte, i int) (form, bool) {
	switch c := t[i]; {
	case c == '%':
		b, end, ok := unpercent(t, i)
		return form{rune(b), i, end}, ok && joinsWords(b)
	case d == DefangOff:
		return form{}, false
	case c == '[', c == '(', c == '{', c == '<':
		return d.bracketed(t, i)
	case d == DefangCommon:
		return form{}, false
	case c == '\\':
		return escaped(t, i)
	case c == ']', c == ')', c == '}':
		return d.bracketed(t, i)
	case c == '^':
		return form{'.', i, i + 2}, isAlnumAt(t, i-1) && isAlnumAt(t, i+2) && t[i+1] == '.'
	case c == '@':
		from, to := blanks(t, i, i+1)
		return form{'@', from, to}, from < i && to > i+1 && isAlnumAt(t, from-1) && isAlnumAt(t, to)
	case c == '.':
		return blankDot(t, i)
	case c == '-':
		return wordDot(t, i)
	case class[c]&isLetter != 0:
		return spelled(t, i)
	case c >= 0x80:
		return disguisedRune(t, i)
	}
	return form{}, false
}

// joinsWords reports whether b is a character of a name or address, rather than one that ends it.
func joinsWords(b byte) bool { return b < 0x80 && class[b]&inWord != 0 || b == '@' }

func isAlnumAt(t []byte, i int) bool { return i >= 0 && i < len(t) && class[t[i]]&isAlnum != 0 }

// bracketed returns the form that begins with the bracket t[i].
func (d Defang) bracketed(t []byte, i int) (form, bool) {
	if f, ok := tight(t, i); ok {
		if d == DefangAll {
			f = spread(t, f)
		}
		return f, true
	}
	if d != DefangAll {
		return form{}, false
	}
	if f, ok := loose(t, i); ok {
		return f, true
	}
	return stray(t, i)
}

// A core is what stands in brackets, and what it means. A meaning of several characters is cut to the first, the
// others being separators like it.
type core struct {
	text  string
	means rune
}

// tightCores are the cores that are read in any mode, in a pair of brackets without blanks; looseCores are the others,
// the words of ioc-fanger's languages among them.
var (
	tightCores = []core{{"://", ':'}, {".", '.'}, {":", ':'}, {"@", '@'}}
	looseCores = []core{{"dot", '.'}, {"punto", '.'}, {"punkt", '.'}, {"point", '.'}, {"arroba", '@'}, {"at", '@'},
		{"et", '@'}, {"d", '.'}, {".", '.'}, {",", '.'}, {"@", '@'}, {"://", ':'}, {":", ':'}, {"/", '/'}, {"-", '-'}}
)

// coreAt returns the first of cores that stands at t[i].
func coreAt(t []byte, i int, cores []core) (c core, ok bool) {
	for _, c := range cores {
		if hasFoldPrefix(t[i:], c.text) {
			return c, true
		}
	}
	return c, false
}

// mayHide reports whether the mark t[i] can be part of a form, by the bytes beside it: most brackets of a log line
// enclose something else.
func mayHide(t []byte, i int) bool {
	if i == 0 || i+2 >= len(t) {
		return i+2 < len(t) && coreStarts[t[i+1]]
	}
	if t[i-1] == '.' || t[i-1] == ' ' && t[i] == '@' {
		return true
	}
	switch next := t[i+1]; {
	case isClosing(t[i]):
		return next == '.' || closedEnds[t[i-1]]
	case class[next]&isLetter != 0:
		return coreStarts[next] && (coreSeconds[t[i+2]] || isClosing(t[i+2]))
	default:
		return coreStarts[next]
	}
}

// coreStarts and coreSeconds are the bytes that forms have behind their bracket: the first letters of a core and the
// second ones, punctuation, blanks and further brackets.
var coreStarts, coreSeconds = func() (starts, seconds [256]bool) {
	for _, c := range append(looseCores, core{"www", 0}) {
		starts[c.text[0]], starts[c.text[0]&^0x20] = true, true
		if len(c.text) > 1 {
			seconds[c.text[1]], seconds[c.text[1]&^0x20] = true, true
		}
	}
	for _, c := range "[({<])}> " {
		starts[c] = true
	}
	seconds[' '] = true
	return starts, seconds
}()

// closedEnds are the bytes before a closing bracket that forms have: the last of www, ::, a dot and the word.
var closedEnds = [256]bool{'w': true, 'W': true, ':': true, 't': true, 'T': true}

// tight returns a form such as [.] and (://), whose brackets fit.
func tight(t []byte, i int) (form, bool) {
	if t[i] != '[' && t[i] != '(' && t[i] != '{' {
		return form{}, false
	}
	c, ok := coreAt(t, i+1, tightCores)
	to := i + 1 + len(c.text)
	if !ok || to >= len(t) || t[to] != closing(t[i]) {
		return form{}, false
	}
	return form{c.means, i, to + 1}, true
}

// loose returns a form whose brackets may be doubled, of two kinds, turned round or missing on the right, with blanks
// inside, around any of the cores: [[.]], ].[, [ dot ], [.com.
func loose(t []byte, i int) (form, bool) {
	from := bracketsEnd(t, i)
	begin := skipBlank(t, from)
	c, ok := coreAt(t, begin, looseCores)
	if !ok {
		return form{}, false
	}
	end := begin + len(c.text)
	stop := skipBlank(t, end)
	to := bracketsEnd(t, stop)
	f := form{c.means, i, to}
	opened := isOpening(t[i])
	switch {
	case to == stop: // nothing closes it
		return form{c.means, i, end}, opened && begin == from && isHalf(c) && isAlnumAt(t, i-1) && isAlnumAt(t, end)
	case opened && to == stop+1 && from == i+1 && t[stop] == closing(t[i]):
		f = spread(t, f)
		return f, c.means == ':' || c.means == '/' || isAlnumAt(t, f.from-1) && isAlnumAt(t, f.to)
	}
	tight := begin == from && stop == end // "(as here). [And so on]" is a sentence
	return f, (opened || c.text == "." && tight) && isAlnumAt(t, i-1) && isAlnumAt(t, to)
}

// isHalf reports whether the core is read without a bracket behind it.
func isHalf(c core) bool { return c.text == "." || c.text == "@" || len(c.text) > 2 && c.means == '.' }

// mostBrackets bounds how many brackets one behind the other belong to a form.
const mostBrackets = 3

func bracketsEnd(t []byte, i int) int {
	limit := min(i+mostBrackets, len(t))
	for i < limit && (isOpening(t[i]) || isClosing(t[i])) {
		i++
	}
	return i
}

func isOpening(c byte) bool { return c == '[' || c == '(' || c == '{' || c == '<' }

func isClosing(c byte) bool { return c == ']' || c == ')' || c == '}' || c == '>' }

// stray returns the bracket t[i] as a form that means nothing: beside a dot, as in evil.]com and evil.[com, and around
// what defanging should not have touched, as in [www].evil.com and 2001:db8[::]1.
func stray(t []byte, i int) (form, bool) {
	f, rest := form{0, i, i + 1}, t[i+1:]
	if isOpening(t[i]) {
		inner := hasFoldPrefix(rest, "www") && len(rest) > 4 && rest[3] == closing(t[i]) && rest[4] == '.' ||
			hasFoldPrefix(rest, "::") && len(rest) > 3 && rest[2] == closing(t[i]) && isHexAt(t, i-1) && isHexAt(t, i+4)
		return f, inner || besideDot(t, i) && (!closes(rest) || labelEnd(t, i) > 0)
	}
	if f, ok := closedDot(t, i); ok {
		return f, true
	}
	before := t[max(0, i-4):i]
	inner := len(before) == 4 && hasFoldPrefix(before[1:], "www") && isOpening(before[0]) ||
		len(before) == 4 && string(before[1:]) == "[::" && isHexAt(t, i+1)
	return f, inner || besideDot(t, i) || i > 0 && closesLabel(t, i)
}

// labelEnd returns where the bracket stands that closes a label in the midst of a name, as in evil.[com].br, which the
// one at t[i] opens, or 0.
func labelEnd(t []byte, i int) int {
	end := i + 1
	for end < len(t) && end-i <= maxLabel && class[t[end]]&isAlnum != 0 {
		end++
	}
	if end == i+1 || end+1 >= len(t) || t[end] != closing(t[i]) || t[end+1] != '.' || !isAlnumAt(t, end+2) {
		return 0
	}
	return end
}

// closesLabel reports whether the bracket t[i] closes such a label.
func closesLabel(t []byte, i int) bool {
	start := i
	for start > 0 && i-start <= maxLabel && class[t[start-1]]&isAlnum != 0 {
		start--
	}
	return start > 1 && isOpening(t[start-1]) && besideDot(t, start-1) && labelEnd(t, start-1) == i
}

func isHexAt(t []byte, i int) bool { return i >= 0 && i < len(t) && class[t[i]]&isHex != 0 }

// besideDot reports whether a dot of a name stands before t[i], and the name goes on behind it.
func besideDot(t []byte, i int) bool {
	return i > 1 && t[i-1] == '.' && isAlnumAt(t, i-2) && isAlnumAt(t, i+1)
}

// closes reports whether a bracket is closed behind the letters and digits that rest begins with.
func closes(rest []byte) bool {
	for i, c := range rest[:min(len(rest), maxLabel)] {
		if class[c]&isAlnum == 0 {
			return i == 0 || isClosing(c)
		}
	}
	return false
}

// spread takes the blanks around a form into it when names stand on both sides.
func spread(t []byte, f form) form {
	if f.means != '.' && f.means != '@' {
		return f
	}
	from, to := blanks(t, f.from, f.to)
	if isAlnumAt(t, from-1) && isAlnumAt(t, to) {
		f.from, f.to = from, to
	}
	return f
}

// spelled returns the form that a bare word at t[i] is: "evil DOT com", "evil dot com", "john AT evil.com". A small
// "at" is an English word.
func spelled(t []byte, i int) (form, bool) {
	if f, ok := wordDot(t, i); ok {
		return f, true
	}
	switch rest := t[i:]; {
	case !hasFoldPrefix(rest, "dot") && !bytes.HasPrefix(rest, []byte("AT ")):
	case rest[0] != 'A' && len(rest) > 3 && isClosing(rest[3]):
		return closedDot(t, i+3)
	case i > 1 && t[i-1] == ' ' && rest[0] == 'A':
		from, to := blanks(t, i, i+2)
		n := wordLength(t[to:])
		host, then := t[to:to+n], t[to+n:]
		return form{'@', from, to}, isAlnumAt(t, from-1) && !isUpper(t[from-1]) && n > 0 &&
			(bytes.IndexByte(host, '.') > 0 || hasFoldPrefix(then, " dot "))
	case i > 1 && t[i-1] == ' ' && hasFoldPrefix(rest, "dot ") && rest[1]&0x20 == rest[0]&0x20:
		from, to := blanks(t, i, i+3)
		return form{'.', from, to}, isAlnumAt(t, from-1) && isAlnumAt(t, to)
	}
	return form{}, false
}

// wordDots spell a dot inside of a word: evilDOTcom, evil-dot-com.
var wordDots = [][]byte{[]byte("DOT"), []byte("-dot-")}

// spelledDot reports whether the word t[start:end], which has no dot, is one, or a name whose dots are spelled.
func (s *Scanner) spelledDot(t []byte, start, end int) bool {
	if s.plain || s.Defang != DefangAll {
		return false
	}
	if end-start <= len("dot") {
		return (t[start]|0x20 == 'd' || t[start] == 'A') && s.hidden(t, start)
	}
	word := t[start:end]
	for _, dot := range wordDots {
		if i := bytes.Index(word, dot); i > 0 {
			_, ok := wordDot(word, i)
			return ok
		}
	}
	return false
}

// wordDot returns the form that begins at t[i] within a word without capitals and dots, whose last part is a top-level
// domain that is hardly anything else.
func wordDot(t []byte, i int) (form, bool) {
	for _, dot := range wordDots {
		rest := t[i:]
		if !bytes.HasPrefix(rest, dot) || !isAlnumAt(t, i-1) || isUpper(t[i-1]) {
			continue
		}
		n := wordLength(rest)
		last := bytes.LastIndex(rest[:n], dot) + len(dot)
		if bytes.IndexByte(rest[:n], '.') < 0 && last < n && !hasUpper(rest[last:n]) && lookUpTLD(rest[last:n]) == plainTLD {
			return form{'.', i, i + len(dot)}, true
		}
	}
	return form{}, false
}

// closedDot returns the form that the bracket t[i] closes and none opens: evildot]com.
func closedDot(t []byte, i int) (form, bool) {
	from := i - len("dot")
	if from < 1 || !hasFoldPrefix(t[from:], "dot") || !isAlnumAt(t, from-1) || !isAlnumAt(t, i+1) {
		return form{}, false
	}
	start := from
	for start > 0 && from-start < maxLabel && class[t[start-1]]&inWord != 0 {
		start--
	}
	return form{'.', from, i + 1}, start == 0 || !isOpening(t[start-1])
}

// blankDot returns the dot at t[i], behind a blank, as a form: with another blank in an address, as in 192 . 0 . 2 . 1,
// without one in the host of a URL, as in http://evil .com.
func blankDot(t []byte, i int) (form, bool) {
	if i < 2 || t[i-1] != ' ' || !isAlnumAt(t, i-2) {
		return form{}, false
	}
	if i+2 < len(t) && t[i+1] == ' ' {
		return form{'.', i - 1, i + 2}, class[t[i-2]]&class[t[i+2]]&isDigit != 0
	}
	start := i - 1
	for start > 0 && i-start < maxLabel && (class[t[start-1]]&inWord != 0 || t[start-1] == ' ' && t[start] == '.') {
		start--
	}
	return form{'.', i - 1, i + 1}, isAlnumAt(t, i+1) && start > 2 && t[start-1] == '/' && t[start-2] == '/'
}

// wordLength returns how many bytes of t belong to the word it begins with, up to those of a long domain.
func wordLength(t []byte) int {
	n := 0
	for n < len(t) && n < maxDomain && class[t[n]]&inWord != 0 {
		n++
	}
	return n
}

func skipBlank(t []byte, i int) int {
	if i < len(t) && t[i] == ' ' {
		return i + 1
	}
	return i
}

// mostBlanks bounds how many blanks may stand on each side of a form.
const mostBlanks = 3

// blanks returns where the blanks before t[i] begin, and where those from t[j] on end.
func blanks(t []byte, i, j int) (from, to int) {
	from, to = i, j
	for from > 0 && i-from < mostBlanks && t[from-1] == ' ' {
		from--
	}
	for to < len(t) && to-j < mostBlanks && t[to] == ' ' {
		to++
	}
	return from, to
}

func closing(open byte) byte {
	switch open {
	case '(':
		return ')'
	case '<':
		return '>'
	}
	return open + 2
}

// escaped returns the form that begins with the backslash t[i].
func escaped(t []byte, i int) (form, bool) {
	rest := t[i+1:]
	switch {
	case len(rest) == 0:
		return form{}, false
	case rest[0] == '.':
		return form{'.', i, i + 2}, isAlnumAt(t, i-1) && isAlnumAt(t, i+2)
	case rest[0] == 'x':
		b, ok := unhex(rest[1:])
		return form{rune(b), i, i + 4}, ok && joinsWords(b)
	case rest[0] == 'u' && bytes.HasPrefix(rest[1:], []byte("00")):
		b, ok := unhex(rest[3:])
		return form{rune(b), i, i + 6}, ok && joinsWords(b)
	}
	return form{}, false
}

// disguises are characters of other scripts that stand for a dot or an '@', or that nobody sees.
var disguises = []struct {
	utf8  string
	means rune
}{
	{"\u3002", '.'}, {"\uff0e", '.'}, {"\uff61", '.'}, {"\u2024", '.'}, {"\uff20", '@'},
	{"\u200b", 0}, {"\u200c", 0}, {"\u200d", 0}, {"\u2060", 0}, {"\ufeff", 0}, {"\u00ad", 0},
}

// disguisedRune returns the form that the character at t[i] is.
func disguisedRune(t []byte, i int) (form, bool) {
	for _, d := range disguises {
		if len(t)-i >= len(d.utf8) && string(t[i:i+len(d.utf8)]) == d.utf8 {
			return form{d.means, i, i + len(d.utf8)}, true
		}
	}
	return form{}, false
}

// hidesDot reports whether word holds a character that [disguisedRune] reads.
func hidesDot(word []byte) bool {
	for i, c := range word {
		if c >= 0xc2 {
			if _, ok := disguisedRune(word, i); ok {
				return true
			}
		}
	}
	return false
}

// hidden reports whether t[i] is part of a form that has to be written out.
func (s *Scanner) hidden(t []byte, i int) bool {
	if s.plain || s.Defang == DefangOff {
		return false
	}
	_, ok := s.Defang.form(t, i)
	return ok
}

// percent handles the '%' at t[i]: an escaped separator separates, an escaped character of a name hides one.
func (s *Scanner) percent(t []byte, i int) (next int, ok bool) {
	b, next, ok := unpercent(t, i)
	if !ok {
		return i + 1, true
	}
	if joinsWords(b) {
		return i + 1, s.plain
	}
	return next, true
}

// unpercent returns the character that the '%' at t[i] escapes, perhaps more than once, as in %252e, and where the
// escape ends.
func unpercent(t []byte, i int) (b byte, end int, ok bool) {
	if b, ok = unhex(t[i+1:]); !ok {
		return 0, i + 1, false
	}
	end = i + 3
	for b == '%' {
		inner, ok := unhex(t[end:])
		if !ok {
			break
		}
		b, end = inner, end+2
	}
	return b, end, true
}

// backslash handles the '\' at t[i]: in a text, what a program escaped separates words; a Windows path has it, too.
func (s *Scanner) backslash(t []byte, i int) (next int, ok bool) {
	rest := t[i+1:]
	if !s.plain && s.Defang == DefangAll {
		if _, hidden := escaped(t, i); hidden {
			return i, false
		}
	}
	if len(rest) < 2 {
		return i + 1, true
	}
	switch _, hex := unhex(rest[1:]); {
	case rest[0] == 'x' && hex:
		return i + 4, true
	case rest[0] == 'u' && hex && len(rest) > 4:
		return i + 6, true
	case rest[0] == 'n' || rest[0] == 't' || rest[0] == 'r':
		if class[rest[1]]&isDigit != 0 || rest[1] == '\\' || hasFoldPrefix(rest[1:], "www.") ||
			hasFoldPrefix(rest[1:], "http") || endsSentence(t, i) {
			return i + 2, true
		}
	}
	return i + 1, true
}

// endsSentence reports whether the backslash at t[i] escapes a line's end behind a text, rather than parting the names
// of a path or of a Windows account: the word before it has a dot, or is no word, and there is no drive before it.
func endsSentence(t []byte, i int) bool {
	const longest = 64
	from := i
	for from > 0 && i-from < longest && t[from-1] > ' ' {
		from--
	}
	word := t[from:i]
	return len(word) > 0 && !bytes.Contains(word, []byte(`:\`)) && !bytes.HasPrefix(word, []byte(`\\`)) &&
		(bytes.IndexByte(word, '.') > 0 || class[word[len(word)-1]]&inWord == 0 && word[len(word)-1] != ':')
}
