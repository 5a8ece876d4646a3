package extract

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// foreign handles t[start:end], a word with bytes beyond ASCII: it is cut where no letter stands, and where a script
// without blanks meets Latin letters, and each piece is a word of its own. It returns end.
func (s *Scanner) foreign(t []byte, start, end int) int {
	for start < end {
		stop, high := pieceEnd(t, start, end)
		switch {
		case stop == start:
			_, size := utf8.DecodeRune(t[start:end])
			stop += size
		case high:
			s.foreignDomain(t, start, stop)
		default:
			s.word(t, start, stop, marksOf(t[start:stop]))
		}
		start = stop
	}
	return end
}

func marksOf(word []byte) (marks byteClass) {
	for _, c := range word {
		marks |= class[c]
	}
	return marks
}

// pieceEnd returns where the piece that begins at t[start] ends, and whether it has letters beyond ASCII.
func pieceEnd(t []byte, start, end int) (stop int, high bool) {
	wide := false // letters of a script without blanks
	latin := false
	for stop = start; stop < end; {
		c := t[stop]
		if c < utf8.RuneSelf {
			if class[c]&isDigit != 0 && stop > start && t[stop-1] >= utf8.RuneSelf &&
				parseIPv4(numbers(t, stop, end)) == Accepted {
				return stop, high
			}
			if class[c]&isLetter != 0 {
				if wide && stop > start && t[stop-1] != '.' && t[stop-1] != '-' {
					return stop, high
				}
				latin = true
			} else if c == '.' {
				wide, latin = false, false
			}
			stop++
			continue
		}
		r, size := utf8.DecodeRune(t[stop:end])
		if r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.N) {
			return stop, high
		}
		if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai) && r < 0xff00 {
			if latin || !high && parseIPv4(numbers(t, start, stop)) == Accepted {
				return stop, high
			}
			wide = true
		}
		high = true
		stop += size
	}
	return stop, high
}

// numbers returns the digits and dots that t[start:end] begins with, as far as they can be an address.
func numbers(t []byte, start, end int) []byte {
	i := start
	for i < end && i-start <= len("255.255.255.255") && class[t[i]]&(isDigit|isDot) != 0 {
		i++
	}
	return t[start:i]
}

// foreignDomain handles t[start:end], letters of other scripts among them.
func (s *Scanner) foreignDomain(t []byte, start, end int) {
	if bytes.IndexByte(t[start:end], '.') < 0 {
		return
	}
	host, stop, rule := s.foreignHost(t, start, end)
	if cut := asciiName(t[start:end]); rule == NotTLD && cut > 0 {
		s.word(t, start, start+cut, marksOf(t[start:start+cut]))
		return
	}
	if rule != Accepted {
		s.drop(rule, start, end)
		return
	}
	for start < stop && (t[start] == '.' || t[start] == '-') {
		start++
	}
	s.emit(Domain, host, start, stop)
}

// asciiName returns the length of the ASCII name that name begins with, when a dot and other letters follow: a
// sentence that goes on behind an ideographic full stop. It returns 0 when there is none.
func asciiName(name []byte) int {
	for i, c := range name {
		if c >= utf8.RuneSelf {
			if i > 1 && name[i-1] == '.' && bytes.IndexByte(name[:i-1], '.') > 0 {
				return i - 1
			}
			break
		}
	}
	return 0
}

// foreignHost returns the A-labels of the name in t[start:end], and where it ends.
func (s *Scanner) foreignHost(t []byte, start, end int) (host []byte, stop int, rule Rule) {
	if cut, _ := pieceEnd(t, start, end); cut < end {
		end = cut
	}
	name := bytes.Trim(t[start:end], ".-")
	ascii, ok := toASCII(name)
	if !ok || len(name) == 0 {
		return nil, end, BadLabel
	}
	from := len(s.memory)
	s.memory = append(s.memory, ascii...)
	n, rule := s.parseName(s.memory, from, len(s.memory), marksOf(s.memory[from:]))
	if rule != Accepted {
		return nil, end, rule
	}
	end -= len(t[start:end]) - len(bytes.TrimRight(t[start:end], ".-"))
	return s.memory[n.start:n.end], end, Accepted
}
