package extract

import "bytes"

// Defang says which defanged forms are read as what they mean. Percent-escapes, the syntax of URLs, always are.
type Defang uint8

// The sets of forms. The filter uses DefangCommon, because log lines hold regular expressions such as evil\.com.
const (
	DefangOff    Defang = iota
	DefangCommon        // [.] (.) {.} [:] [://] [@] and any scheme, such as hxxp
	DefangAll           // also <.> [dot] [d] [at] and blanks around them, halves such as [. and .], \. \u002e \x2e, dots of other scripts, zero-width characters
)

// refang writes the text of v's parent to v with its defanged forms read.
func (s *Scanner) refang(v *view) {
	t := v.parent.text
	copied := 0
	for i := 0; i < len(t); {
		if class[t[i]]&(isMark|isHigh) == 0 {
			i++
			continue
		}
		f, ok := s.Defang.form(t, i)
		if !ok {
			i++
			continue
		}
		v.copy(copied, f.from)
		if f.means != 0 {
			v.put(f.means, f.from, f.to)
		}
		i, copied = f.to, f.to
	}
	v.copy(copied, len(t))
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
		b, ok := unhex(t[i+1:])
		return form{rune(b), i, i + 3}, ok && joinsWords(b)
	case d == DefangOff:
		return form{}, false
	case c == '[', c == '(', c == '{', c == '<':
		return d.bracketed(t, i)
	case d == DefangCommon:
		return form{}, false
	case c == '\\':
		return escaped(t, i)
	case c == ']', c == ')', c == '}':
		half := i > 1 && t[i-1] == '.' && class[t[i-2]]&isAlnum != 0 && isAlnumAt(t, i+1)
		return form{0, i, i + 1}, half
	case c >= 0x80:
		return disguisedRune(t, i)
	}
	return form{}, false
}

// joinsWords reports whether b is a character of a name or address, rather than one that ends it.
func joinsWords(b byte) bool { return b < 0x80 && class[b]&inWord != 0 || b == '@' }

func isAlnumAt(t []byte, i int) bool { return i >= 0 && i < len(t) && class[t[i]]&isAlnum != 0 }

// bracketForms are the words in brackets, longest first, and what they mean. A meaning of several characters is cut
// to the first, the others being separators like it.
var bracketForms = []struct {
	word   string
	means  rune
	common bool
}{{"://", ':', true}, {"dot", '.', false}, {"at", '@', false}, {".", '.', true}, {":", ':', true}, {"@", '@', true}, {"d", '.', false}, {"/", '/', false}}

// bracketed returns the form that begins with the bracket t[i].
func (d Defang) bracketed(t []byte, i int) (form, bool) {
	all := d == DefangAll
	if t[i] == '<' && !all {
		return form{}, false
	}
	from := i + 1
	if all {
		from = skipBlank(t, from)
	}
	for _, b := range bracketForms {
		if !all && !b.common || !hasFoldPrefix(t[from:], b.word) {
			continue
		}
		to := from + len(b.word)
		if all {
			to = skipBlank(t, to)
		}
		if to < len(t) && t[to] == closing(t[i]) {
			return spread(t, form{b.means, i, to + 1}, all), true
		}
		half := all && b.word == "." && isAlnumAt(t, i-1) && isAlnumAt(t, from+1)
		return form{'.', i, from + 1}, half
	}
	return form{}, false
}

// spread takes the blanks around a form into it when names stand on both sides.
func spread(t []byte, f form, all bool) form {
	if !all || f.means != '.' && f.means != '@' {
		return f
	}
	from, to := f.from, skipBlank(t, f.to)
	if from > 0 && t[from-1] == ' ' {
		from--
	}
	if isAlnumAt(t, from-1) && isAlnumAt(t, to) {
		f.from, f.to = from, to
	}
	return f
}

func skipBlank(t []byte, i int) int {
	if i < len(t) && t[i] == ' ' {
		return i + 1
	}
	return i
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

// defangedAt reports whether t[i], a bracket, is part of a form.
func (s *Scanner) defangedAt(t []byte, i int) bool {
	_, ok := s.Defang.form(t, i)
	return ok
}

// percent handles the '%' at t[i]: an escaped separator separates, an escaped character of a name hides one.
func (s *Scanner) percent(t []byte, i int) (next int, ok bool) {
	b, ok := unhex(t[i+1:])
	if !ok {
		return i + 1, true
	}
	if joinsWords(b) {
		return i + 1, s.plain
	}
	next = i + 3
	for b == '%' { // escaped more than once: %252F
		if b, ok = unhex(t[next:]); !ok {
			break
		}
		next += 2
	}
	return next, true
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
		if class[rest[1]]&isDigit != 0 || hasFoldPrefix(rest[1:], "www.") || hasFoldPrefix(rest[1:], "http") {
			return i + 2, true
		}
	}
	return i + 1, true
}
