package extract

// A byteClass says what part a byte can play in an indicator; the scanner decides by table what to look at.
type byteClass uint16

const (
	inWord    byteClass = 1 << iota // letters, digits, '.', '-', '_' and bytes beyond ASCII: what names are made of
	isDot                           // '.'
	isDash                          // '-' and '_'
	isHigh                          // beyond ASCII: part of a name in another script, or of its punctuation
	isHex                           // 0-9 a-f A-F
	isDigit                         // 0-9
	isLetter                        // a-z A-Z
	isCapital                       // A-Z
	isD                             // 'd' and 'D'
	isO                             // 'o' and 'O'
	isT                             // 't' and 'T'
	isJoint                         // ':' and '@', which bind words to addresses
	isBlank                         // ' '
	isMark                          // no part of a word, but able to join, hide or announce words: see Scanner.mark
)

const (
	isAlnum = isLetter | isDigit
	isDOT   = isD | isO | isT // together in a word that may spell a dot
)

var class = func() (t [256]byteClass) {
	for b := range t {
		switch c := byte(b); {
		case c >= '0' && c <= '9':
			t[b] = inWord | isHex | isDigit
		case c >= 'a' && c <= 'z':
			t[b] = inWord | isLetter
		case c >= 'A' && c <= 'Z':
			t[b] = inWord | isLetter | isCapital
		case c >= 0x80:
			t[b] = inWord | isHigh
		}
	}
	for _, c := range "abcdefABCDEF" {
		t[c] |= isHex
	}
	t['.'], t['-'], t['_'] = inWord|isDot, inWord|isDash, inWord|isDash
	for i, c := range "dot" {
		t[c] |= isD << i
		t[c&^0x20] |= isD << i
	}
	for _, c := range `[](){}<^\%=` {
		t[c] = isMark
	}
	t[' '] = isBlank
	t[':'], t['@'] = isMark|isJoint, isMark|isJoint
	return t
}()

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

func lower(c byte) byte {
	if isUpper(c) {
		return c + ('a' - 'A')
	}
	return c
}

// unhex returns the value of the two hexadecimal digits at the start of s, and whether there are two.
func unhex(s []byte) (byte, bool) {
	if len(s) < 2 || class[s[0]]&isHex == 0 || class[s[1]]&isHex == 0 {
		return 0, false
	}
	return hexValue(s[0])<<4 | hexValue(s[1]), true
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}

// hasFoldPrefix reports whether s begins with prefix, which is in lower case, whatever the case of s.
func hasFoldPrefix[T string | []byte](s T, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(s[i]) != prefix[i] {
			return false
		}
	}
	return true
}
