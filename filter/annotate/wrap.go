package annotate

import (
	"bytes"
	"unicode/utf8"
)

// AppendWrapped appends a text line, given without its line ending, as a JSON event: {"message":…}, annotated as
// [Annotator.AppendJSON] does when there are hits, whose offsets are the line's. In a line that is not UTF-8 each bad
// byte becomes \xNN and each backslash is doubled, and iocpipe.escaped is true. The event begins with the members of
// head, each followed by a comma, which may be none; they are not threat, related and iocpipe.
func (a *Annotator) AppendWrapped(dst, head, line []byte, hits []Hit) []byte {
	a.choose(line, hits, false)
	if a.hasEntries() || !utf8.Valid(line) {
		a.wrapped = appendBare(a.wrapped[:0], head, line)
		a.doc.parse(a.wrapped) // cannot fail
		return a.splice(dst)
	}
	dst = appendBare(dst, head, line) // of most lines nothing is known, and what they name is all that their event lacks
	return append(a.appendRelatedFields(dst[:len(dst)-1]), '}')
}

// appendRelatedFields appends related.* as a member of an event that has others, but neither threat, related nor iocpipe.
func (a *Annotator) appendRelatedFields(dst []byte) []byte {
	related := append(dst, `,"related":{`...)
	empty := len(related)
	for _, name := range [...]string{"ip", "hosts", "hash"} {
		named := appendName(related, name)
		if values := a.appendValues(named, name); len(values) > len(named) {
			values[len(named)] = '[' // in the place of the first comma
			related = append(values, ']', ',')
		}
	}
	if len(related) == empty {
		return dst
	}
	return appendClose(related, '}')
}

// appendBare appends line as an event without annotation.
func appendBare(dst, head, line []byte) []byte {
	if !utf8.Valid(line) {
		return appendBareEscaped(dst, head, line)
	}
	dst = append(append(append(dst, '{'), head...), bareMessage...)
	dst = appendEscaped(dst, line)
	return append(dst, bareEnd...)
}

// appendBareEscaped appends line as a [Wrapper] writes it.
func appendBareEscaped(dst, head, line []byte) []byte {
	var w Wrapper
	return w.End(w.Append(w.Begin(dst, head), line))
}

const (
	bareMessage    = `"message":"`
	bareStart      = "{" + bareMessage
	bareEnd        = `"}`
	bareEndEscaped = `","iocpipe":{"escaped":true}}`
)

// A Wrapper makes a JSON event of a text line that arrives in pieces because it is too long to hold. Since a bad byte
// may come at any time, backslashes are doubled from the start. iocpipe.escaped is true when that has changed the line:
// when there was a backslash, or a byte that is not UTF-8.
type Wrapper struct {
	cut     [utf8.UTFMax]byte // a character that the last piece ended within
	n       int
	escaped bool
}

// Begin appends what stands before the first piece of a line; head is as for [Annotator.AppendWrapped].
func (w *Wrapper) Begin(dst, head []byte) []byte {
	*w = Wrapper{}
	return append(append(append(dst, '{'), head...), bareMessage...)
}

// Append appends the next piece, which may begin and end anywhere.
func (w *Wrapper) Append(dst, piece []byte) []byte {
	for w.n > 0 && len(piece) > 0 {
		w.cut[w.n] = piece[0]
		w.n, piece = w.n+1, piece[1:]
		for w.n > 0 && utf8.FullRune(w.cut[:w.n]) {
			_, size := utf8.DecodeRune(w.cut[:w.n])
			dst = w.appendWhole(dst, w.cut[:size])
			w.n = copy(w.cut[:], w.cut[size:w.n])
		}
	}
	whole := len(piece) - len(cutRune(piece))
	if whole < len(piece) {
		w.n = copy(w.cut[:], piece[whole:])
	}
	return w.appendWhole(dst, piece[:whole])
}

// End appends what stands behind the last piece.
func (w *Wrapper) End(dst []byte) []byte {
	dst = w.appendWhole(dst, w.cut[:w.n])
	if w.escaped {
		return append(dst, bareEndEscaped...)
	}
	return append(dst, bareEnd...)
}

// cutRune returns the beginning of a character that piece ends with, if it ends within one.
func cutRune(piece []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(piece); n++ {
		tail := piece[len(piece)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return nil
			}
			return tail
		}
	}
	return nil
}

// appendWhole appends a piece that does not end within a character.
func (w *Wrapper) appendWhole(dst, piece []byte) []byte {
	for len(piece) > 0 {
		n := plainLen(piece)
		dst = appendEscaped(dst, piece[:n])
		if piece = piece[n:]; len(piece) == 0 {
			break
		}
		w.escaped = true
		if c := piece[0]; c == '\\' {
			dst = append(dst, `\\\\`...)
		} else {
			dst = append(dst, `\\x`...)
			dst = append(dst, upperHex[c>>4], upperHex[c&15])
		}
		piece = piece[1:]
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

// plainLen returns how much of b comes before a backslash or a byte that is not UTF-8.
func plainLen(b []byte) int {
	if n := bytes.IndexByte(b, '\\'); n >= 0 {
		b = b[:n]
	}
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(b)
}
