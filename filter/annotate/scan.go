package annotate

import (
	"bytes"
	"strings"
)

// A span bounds bytes of an event: from start up to, not including, end.
type span struct{ start, end int }

func (s span) of(src []byte) []byte { return src[s.start:s.end] }

// A member is one member of an object; its key includes the quotes. An element of an array is a member whose key is
// empty and stands where the value begins.
type member struct{ key, value span }

// cut returns what goes out with members[i] when gone of those before it have gone: the gap before it, too, or, where none
// is left before it, the gap behind it.
func cut(members []member, i, gone int) span {
	at := span{members[i].key.start, members[i].value.end}
	if i > gone {
		at.start = members[i-1].value.end
	} else if i+1 < len(members) {
		at.end = members[i+1].key.start
	}
	return at
}

// A container is what stands between two brackets: src[open:close].
type container struct {
	src         []byte
	open, close int
	members     []member
}

// tail is where a new last member goes.
func (c *container) tail() int {
	if n := len(c.members); n > 0 {
		return c.members[n-1].value.end
	}
	return c.open
}

// gap returns what stands before member i: blanks, and the comma of all but the first. Behind the last member there is
// a gap, too; an empty container has only that one.
func (c *container) gap(i int) []byte {
	from, to := c.open, c.close
	if i > 0 {
		from = c.members[i-1].value.end
	}
	if i < len(c.members) {
		to = c.members[i].key.start
	}
	return c.src[from:to]
}

// scan reads the object or array that begins at src[at]. It looks no deeper than the brackets of its values, whose
// insides it takes on trust. end is the offset behind the closing bracket.
func (c *container) scan(src []byte, at int) (end int, ok bool) {
	c.src, c.open, c.members = src, at+1, c.members[:0]
	object := src[at] == '{'
	i := skipBlanks(src, c.open)
	if i < len(src) && src[i] == src[at]+2 { // in ASCII both kinds of brackets are two apart
		c.close = i
		return i + 1, true
	}
	for {
		m, ok := scanMember(src, i, object)
		if !ok {
			return 0, false
		}
		c.members = append(c.members, m)
		i = skipBlanks(src, m.value.end)
		if i == len(src) {
			return 0, false
		}
		if src[i] == src[at]+2 {
			c.close = i
			return i + 1, true
		}
		if src[i] != ',' {
			return 0, false
		}
		i = skipBlanks(src, i+1)
	}
}

func scanMember(src []byte, at int, keyed bool) (m member, ok bool) {
	m.key = span{at, at}
	i := at
	if keyed {
		if i = scanString(src, at); i < 0 {
			return m, false
		}
		m.key.end = i
		if i = skipBlanks(src, i); i == len(src) || src[i] != ':' {
			return m, false
		}
		i = skipBlanks(src, i+1)
	}
	m.value = span{i, scanValue(src, i)}
	return m, m.value.end > i
}

// objectStart returns where the object of an event begins, or -1: behind a byte order mark, blanks, and the cookie by
// which syslog marks JSON (@cee:).
func objectStart(line []byte) int {
	i := 0
	if bytes.HasPrefix(line, []byte("\ufeff")) {
		i = len("\ufeff")
	}
	i = skipBlanks(line, i)
	if bytes.HasPrefix(line[i:], []byte("@cee:")) {
		i = skipBlanks(line, i+len("@cee:"))
	}
	if i < len(line) && line[i] == '{' {
		return i
	}
	return -1
}

// scanEvent reads the object that is the whole of line but for what may stand around it, and returns its bounds.
func (c *container) scanEvent(line []byte) (object span, ok bool) {
	object.start = objectStart(line)
	if object.start < 0 {
		return object, false
	}
	object.end, ok = c.scan(line, object.start)
	return object, ok && skipBlanks(line, object.end) == len(line)
}

func skipBlanks(src []byte, i int) int {
	for i < len(src) && (src[i] == ' ' || src[i] == '\t' || src[i] == '\n' || src[i] == '\r') {
		i++
	}
	return i
}

// scanValue returns the offset behind the value that begins at src[i], or -1.
func scanValue(src []byte, i int) int {
	if i == len(src) {
		return -1
	}
	switch src[i] {
	case '"':
		return scanString(src, i)
	case '{', '[':
		return scanNested(src, i)
	}
	for i < len(src) && strings.IndexByte(",]} \t\r\n", src[i]) < 0 {
		i++
	}
	return i
}

// scanString returns the offset behind the string whose opening quote is src[i], or -1.
func scanString(src []byte, i int) int {
	if i == len(src) || src[i] != '"' {
		return -1
	}
	for body := i + 1; ; {
		n := bytes.IndexByte(src[body:], '"')
		if n < 0 {
			return -1
		}
		quote, escapes := body+n, 0
		for quote-escapes > body && src[quote-escapes-1] == '\\' {
			escapes++
		}
		body = quote + 1
		if escapes%2 == 0 {
			return body
		}
	}
}

// scanNested returns the offset behind the object or array that begins at src[i], or -1.
func scanNested(src []byte, i int) int {
	for depth := 0; i < len(src); {
		switch src[i] {
		case '"':
			if i = scanString(src, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}
