package annotate

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const lowerHex = "0123456789abcdef"

// appendEscaped appends s as it stands between the quotes of a JSON string. s must be UTF-8.
func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	done := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		dst = appendEscape(dst, c)
		done = i + 1
	}
	return append(dst, s[done:]...)
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
}

// AppendString appends s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	switch {
	case isPlain(s):
		dst = append(dst, s...)
	case isASCII(s):
		dst = appendEscaped(dst, s)
	default:
		dst = appendEscaped(dst, strings.ToValidUTF8(string(s), "\ufffd"))
	}
	return append(dst, '"')
}

// isPlain reports whether s is a JSON string as it stands: nearly all are.
func isPlain[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if !standsForItself[s[i]] {
			return false
		}
	}
	return true
}

// standsForItself holds the bytes of ASCII that need no escape.
var standsForItself = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func isASCII[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendName appends the key of a member.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// appendField appends a member whose value is a string that fits a keyword field, and a comma.
func appendField[T string | []byte](dst []byte, name string, value T) []byte {
	dst = appendName(dst, name)
	dst = AppendString(dst, clip(value))
	return append(dst, ',')
}

// appendNumber appends a member whose value is n, and a comma.
func appendNumber(dst []byte, name string, n int) []byte {
	dst = appendName(dst, name)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, ',')
}

// appendClose appends a closing bracket in the place of the comma behind the last member.
func appendClose(dst []byte, bracket byte) []byte {
	if dst[len(dst)-1] == ',' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, bracket)
}

// clip cuts s so that a keyword field indexes it; no character is cut in two.
func clip[T string | []byte](s T) T {
	if len(s) <= maxKeyword {
		return s
	}
	end := maxKeyword
	for end > maxKeyword-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// appendUnescaped appends what a piece of a JSON string stands for. Half a surrogate pair becomes U+FFFD; an escape
// that is cut off stays as it is written.
func appendUnescaped(dst, piece []byte) []byte {
	for {
		n := bytes.IndexByte(piece, '\\')
		if n < 0 || n+1 == len(piece) {
			return append(dst, piece...)
		}
		dst = append(dst, piece[:n]...)
		size := 2
		if piece[n+1] == 'u' {
			dst, size = appendUnescapedRune(dst, piece[n:])
		} else {
			dst = append(dst, unescapedByte(piece[n+1]))
		}
		piece = piece[n+size:]
	}
}

func unescapedByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// appendUnescapedRune appends the character that the \u at the start of piece stands for, and says how long that is.
func appendUnescapedRune(dst, piece []byte) (out []byte, size int) {
	r := hexRune(piece)
	if r < 0 {
		return append(dst, '\\', 'u'), 2
	}
	if utf16.IsSurrogate(r) {
		if pair := utf16.DecodeRune(r, hexRune(piece[6:])); pair != utf8.RuneError {
			return utf8.AppendRune(dst, pair), 12
		}
	}
	return utf8.AppendRune(dst, r), 6
}

// hexRune returns the value of the \uXXXX that piece begins with, or -1.
func hexRune(piece []byte) rune {
	if len(piece) < 6 || piece[0] != '\\' || piece[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(piece[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
