package extract

import (
	"bytes"
	"net/netip"
	"unicode"
	"unicode/utf8"
)

const (
	maxLocalPart = 128 // RFC 5321 allows 64; the return paths of mailing lists are longer in practice
)

// email handles the word t[start:at] before an '@'. It returns where the scan goes on, or at when the word is to be
// handled like any other.
func (s *Scanner) email(t []byte, start, at int) int {
	if start > 0 && t[start-1] == '@' && !bytes.HasSuffix(t[:start], []byte(`\@`)) {
		return at
	}
	start = lettersFrom(t, localPart(t, start, at), at)
	if isUserInfo(t, start) && !isUserInfoEmail(t, at) {
		return at + 1
	}
	if at+1 < len(t) && t[at+1] == '[' {
		return s.literalEmail(t, start, at)
	}
	host, end, rule := s.hostAt(t, at+1)
	if rule != Accepted {
		if end > at+1 && rule == NotTLD {
			s.drop(UserHost, start, end)
		}
		return at + 1
	}
	s.retract(start)
	s.emitEmail(t, start, at, end, host)
	s.emit(Domain, host, at+1, end)
	return end
}

// emitEmail appends the address t[start:end], whose normalised host is host, unless it is something else in its form.
func (s *Scanner) emitEmail(t []byte, start, at, end int, host []byte) {
	rule := Accepted
	before, gap := wordBefore(t, start)
	switch {
	case start == at || t[at-1] == '.' || bytes.Contains(t[start:at], []byte("..")) && t[start] != '"':
		rule = BadLabel
	case gap > 0 && len(before) > 0 && messageIDWords.has(before) && bytes.ContainsAny(t[start-gap:start], ":=<") ||
		fieldNames(s.context(), messageIDWords):
		rule = MessageID
	case end < len(t) && t[end] == ':' && hasFoldPrefix(t[start:end], "git@"):
		rule = UserHost // git@example.com:group/project.git
	case bytes.Contains(host, []byte("jabber")) || bytes.Contains(host, []byte("xmpp")):
		rule = Jabber
	case start > 1 && t[start-1] == '*' && t[start-2] == '*':
		rule = Masked // j***n@example.com
	}
	if rule != Accepted {
		s.drop(rule, start, end)
		return
	}
	from := len(s.memory)
	for _, c := range t[start : at+1] {
		s.memory = append(s.memory, lower(c))
	}
	s.memory = append(s.memory, host...)
	s.emit(Email, s.memory[from:], start, end)
}

var messageIDWords = newWords("message-id", "msgid", "message_id", "messageid", "in-reply-to", "references", "mid",
	"resent-message-id")

// localPart returns where the local part that ends at t[at] begins: behind a '<' before it, in which case all
// characters of RFC 5321 are taken, or with the usual ones before the word at t[start:at].
func localPart(t []byte, start, at int) int {
	limit := max(0, at-maxLocalPart)
	for i := start; i > limit; i-- {
		if t[i-1] == '<' {
			return i
		}
		if class[t[i-1]]&inWord == 0 && bytes.IndexByte([]byte("+=!#$&'*/?^`{|}~"), t[i-1]) < 0 {
			break
		}
	}
	for start > limit && (class[t[start-1]]&inWord != 0 || t[start-1] == '+' || isApostrophe(t, start-1)) {
		start--
	}
	start = returnPath(t, start, at, limit)
	for start < at && (t[start] == '.' || t[start] == '-' || t[start] == '+') {
		start++
	}
	return start
}

// lettersFrom returns where the letters of any script begin that end the local part t[start:at]: behind what is none,
// such as quotes and arrows beyond ASCII.
func lettersFrom(t []byte, start, at int) int {
	for i := start; i < at; {
		if t[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(t[i:at])
		i += size
		if r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.N) {
			start = i
		}
	}
	return start
}

// rewriters begin the local parts that forwarders write: SRS0=abcd=AB=example.net=john.
var rewriters = []string{"srs0=", "srs1=", "prvs=", "msprvs1="}

// returnPath returns where the local part begins whose last word begins at t[start], behind a '=', when an address is
// written into it: by a forwarder, or as mailing lists do, bounce+1-john=example.net. Any other '=' follows a key.
func returnPath(t []byte, start, at, limit int) int {
	if start == 0 || t[start-1] != '=' {
		return start
	}
	list, listed := start, bytes.IndexByte(t[start:at], '.') > 0
	for i := start - 1; i > limit && (class[t[i-1]]&inWord != 0 || t[i-1] == '+' || t[i-1] == '='); i-- {
		for _, prefix := range rewriters {
			if hasFoldPrefix(t[i-1:], prefix) && (i == 1 || class[t[i-2]]&inWord == 0) {
				return i - 1
			}
		}
		if listed && list == start && (i-1 == limit || class[t[i-2]]&inWord == 0 && t[i-2] != '+') {
			list = i - 1
		}
	}
	if bytes.ContainsAny(t[list:start], "+-") {
		return list
	}
	return start
}

// isApostrophe recognises the one in o'brien, as opposed to a quote.
func isApostrophe(t []byte, i int) bool {
	return t[i] == '\'' && i > 0 && class[t[i-1]]&isLetter != 0 && class[t[i+1]]&isLetter != 0
}

// isUserInfo reports whether a name and perhaps a password before an '@' belong to a URL: //user:password@host.
func isUserInfo(t []byte, start int) bool {
	i := start
	if i > 0 && t[i-1] == ':' {
		for i--; i > 0 && start-i < maxLocalPart && t[i-1] > ' ' && t[i-1] != '/'; i-- {
		}
	}
	return i > 1 && t[i-1] == '/' && t[i-2] == '/'
}

// isUserInfoEmail reports whether what stands behind the '@' at t[at] ends at another '@': the user of the URL is an
// e-mail address.
func isUserInfoEmail(t []byte, at int) bool {
	end := at + 1
	for end < len(t) && end-at < maxDomain && class[t[end]]&inWord != 0 {
		end++
	}
	return end < len(t) && t[end] == '@'
}

// literalEmail handles user@[192.0.2.1] and user@[IPv6:2001:db8::1]; the address inside is found by the scan that goes
// on behind the bracket.
func (s *Scanner) literalEmail(t []byte, start, at int) int {
	end := at + 2
	for end < len(t) && end-at < len("@[IPv6:")+maxIPv6 && t[end] > ' ' && t[end] != ']' {
		end++
	}
	if end == len(t) || t[end] != ']' {
		return at + 2
	}
	if literal, ok := parseLiteral(alias(t[at+2 : end])); ok {
		s.emitEmail(t, start, at, end+1, []byte(literal))
	}
	return at + 2
}

// parseLiteral returns the normalised form of the address literal (RFC 5321, section 4.1.3) that stands between
// brackets, with them.
func parseLiteral(literal string) (normalised string, ok bool) {
	const v6 = "ipv6:"
	if hasFoldPrefix(literal, v6) {
		addr, err := netip.ParseAddr(literal[len(v6):])
		return "[" + v6 + addr.String() + "]", err == nil && addr.Is6() && addr.Zone() == ""
	}
	addr, err := netip.ParseAddr(literal)
	return "[" + literal + "]", err == nil && addr.Is4()
}

// quotedEmail handles the '@' at t[at] behind a quoted local part: "john doe"@example.com.
func (s *Scanner) quotedEmail(t []byte, at int) {
	if at < 2 || t[at-1] != '"' {
		return
	}
	open := openingQuote(t, at-1, max(0, at-maxLocalPart))
	if open < 0 || open == at-2 || open > 0 && (class[t[open-1]]&inWord != 0 || t[at-2] == '\\') {
		return
	}
	if quoted := t[open:at]; !utf8.Valid(quoted) || bytes.ContainsFunc(quoted, unicode.IsControl) {
		return
	}
	host, end, rule := s.hostAt(t, at+1)
	if rule == Accepted {
		s.emitEmail(t, open, at, end, host)
	}
}

// openingQuote returns where the quote before t[end] stands that no backslash escapes, from t[limit] on, or -1.
func openingQuote(t []byte, end, limit int) int {
	for i := end - 1; i >= limit; i-- {
		if t[i] == '"' && (i == 0 || t[i-1] != '\\') {
			return i
		}
	}
	return -1
}

// hostAt returns the normalised domain that begins at t[start], and where it ends.
func (s *Scanner) hostAt(t []byte, start int) (host []byte, end int, rule Rule) {
	end, marks := start, byteClass(0)
	for end < len(t) && class[t[end]]&inWord != 0 {
		marks |= class[t[end]]
		end++
	}
	if marks&isHigh != 0 {
		return s.foreignHost(t, start, end)
	}
	if marks&isLetter == 0 {
		return nil, end, NumberRun
	}
	n, rule := s.parseName(t, start, end, marks)
	if rule != Accepted {
		return nil, end, rule
	}
	if n.start != start {
		return nil, end, BadLabel
	}
	host = t[n.start:n.end]
	if n.upper {
		host = s.lowered(host)
	}
	return host, n.end, Accepted
}

// retract takes back the matches from t[start] on: they are parts of what begins there.
func (s *Scanner) retract(start int) {
	from, _ := s.cur.span(start, start+1)
	for n := len(s.dst); n > s.base && s.dst[n-1].Start >= from; n-- {
		s.dst = s.dst[:n-1]
	}
}
