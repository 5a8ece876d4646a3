package extract

// A Scanner finds the indicators of one line after another. Its zero value looks for every type, writes out no
// defanged forms and looks into every field. Its settings must not change after the first line. A Scanner is for one
// goroutine.
//
// How it works: a line is cut into words by a table of byte classes. Most words have no dot, are too short for a hash
// and stand before neither ':' nor '@': they are passed over at the cost of the table. The others go to a short
// function each: addresses (ip.go), domains (domain.go, and codename.go for what only looks like one), e-mail
// addresses (email.go), hashes (hash.go). The string values of JSON events (json.go) are such texts, too; what was found
// out about their fields is remembered (fieldtree.go). Where something hides an indicator, by escapes or by defanging,
// the text is written out once (refang.go) and scanned again; views (view.go) lead back to the line's own bytes.
// Everything looks a bounded number of bytes around itself, so that the time per byte does not depend on the line.
type Scanner struct {
	Types   TypeSet // what to look for; zero is all types
	Defang  Defang  // which defanged forms to write out
	Fields  Fields  // which fields of JSON events to look into; zero is all
	Explain bool    // also append what was dropped, with its Rule

	dst      []Match
	memory   []byte // values and field names that do not stand in the line; good until the next line
	suffixes suffixCache

	whole view    // a JSON event
	line  view    // what is scanned: a text line, or a string of the event as it stands,
	stage [4]view // then with its escapes decoded, refanged, and the same for JSON inside of it
	cur   *view
	base  int // of dst: the first match of this line

	plain        bool   // the text has been refanged: marks hide nothing more
	notIPv6Until int    // up to here in the text no IPv6 address can begin
	field        *field // that the string at hand is a value of; nil in a text line
	names        *field // the same, or in JSON inside of that string the field there

	outer, inner walker
}

// Append appends the indicators of line to dst, ordered by offset; an e-mail's domain follows its address. A line that
// is one JSON object is looked into string by string; any other is one text. The line's ending may be there or not.
// Append allocates only to grow dst and its own memory. The matches alias line and the scanner's memory: they are
// good until the next call, and as long as line is.
func (s *Scanner) Append(dst []Match, line []byte) []Match {
	matches, _ := s.AppendEvent(dst, line)
	return matches
}

// AppendEvent is [Scanner.Append] that also says whether the line is a JSON event.
func (s *Scanner) AppendEvent(dst []Match, line []byte) (matches []Match, event bool) {
	s.dst, s.memory, s.base = dst, s.memory[:0], len(dst)
	if body := eventStart(line); body >= 0 {
		s.whole = view{text: line[body:], offset: body}
		if s.event(&s.whole) {
			return s.finish(), true
		}
		s.dst = s.dst[:s.base]
	}
	s.field, s.names = nil, nil
	s.line.text, s.line.offset = line, 0
	s.text(&s.line)
	return s.finish(), false
}

// finish hands the matches over.
func (s *Scanner) finish() []Match {
	matches := s.dst
	s.dst = nil
	sortByOffset(matches[s.base:])
	return matches
}

// sortByOffset sorts what is nearly always in order. It is stable: an e-mail stays before its domain.
func sortByOffset(m []Match) {
	for i := 1; i < len(m); i++ {
		for j := i; j > 0 && m[j].Start < m[j-1].Start; j-- {
			m[j], m[j-1] = m[j-1], m[j]
		}
	}
}

// text scans v, and once more with its defanged forms written out if it has any.
func (s *Scanner) text(v *view) {
	before := len(s.dst)
	s.plain = false
	if s.scan(v) {
		return
	}
	s.dst = s.dst[:before]
	refanged := s.nextStage(v, 0)
	s.refang(refanged)
	s.plain = true
	s.scan(refanged)
}

// nextStage returns an empty view of what stands in v from there on.
func (s *Scanner) nextStage(v *view, from int) *view {
	next := 0
	for i := range s.stage {
		if v == &s.stage[i] {
			next = i + 1
		}
	}
	s.stage[next].reset(v, from)
	return &s.stage[next]
}

// scan cuts the text into words and hands on those that can be something. It returns false as soon as it meets a
// defanged form, which has to be written out first.
//
// On plain logs this loop takes a quarter of the time of extract. Tried and refused: the loop in a function of its own
// that returns the next word (7 % more time); to stop at dots and marks only and to go back from there to where the word
// begins (5 to 10 % more); masks of 64 bytes at a time, made by table without a branch (25 % more: the processor
// foretells the branches better than that saves).
func (s *Scanner) scan(v *view) bool {
	s.cur, s.notIPv6Until = v, 0
	t := v.text
	for i := 0; i < len(t); {
		c := class[t[i]]
		if c&inWord == 0 {
			if c&isMark == 0 {
				i++
				continue
			}
			next, ok := s.mark(t, i)
			if !ok {
				return false
			}
			i = next
			continue
		}
		start, marks := i, c
		for i++; i < len(t); i++ {
			c = class[t[i]]
			if c&inWord == 0 {
				break
			}
			marks |= c
		}
		// Most words of a log line end here: no dot, no joint behind them, too short for a hash.
		if (marks|c)&(isDot|isHigh|isJoint) == 0 && i-start < minHash {
			if (marks&isDOT == isDOT || marks&isT != 0 && i-start == len("AT")) && s.spelledDot(t, start, i) {
				return false
			}
			if c&(inWord|isMark) == 0 {
				i++ // a separator that is nothing else
			}
			continue
		}
		if marks&isHigh != 0 && !s.plain && s.Defang == DefangAll && hidesDot(t[start:i]) {
			return false
		}
		if t[start] == '.' && s.hidden(t, start) {
			return false
		}
		i = s.word(t, start, i, marks)
	}
	s.clamAV(t)
	return true
}

// word handles t[start:end], a word whose bytes have the classes marks, and returns where the scan goes on.
func (s *Scanner) word(t []byte, start, end int, marks byteClass) int {
	if end < len(t) {
		switch t[end] {
		case ':':
			if group := hexGroup(t, start, end); group < end && group >= s.notIPv6Until {
				if next := s.ipv6(t, group); next > group {
					return next
				}
			}
		case '@':
			if next := s.email(t, start, end); next > end {
				return next
			}
		}
	}
	if marks&isHigh != 0 {
		return s.foreign(t, start, end)
	}
	if end-start >= minHash {
		s.hashes(t, start, end)
	}
	if marks&isDot != 0 {
		s.dottedWord(t, start, end, marks)
	}
	return end
}

// hexGroup returns where the group of an IPv6 address begins that ends the word t[start:end], or end: at the word's
// start or behind a dash.
func hexGroup(t []byte, start, end int) int {
	i := end
	for i > start && class[t[i-1]]&isHex != 0 {
		i--
	}
	if end-i > 4 || i > start && t[i-1] != '-' {
		return end
	}
	return i
}

func allHex(word []byte) bool {
	for _, c := range word {
		if class[c]&isHex == 0 {
			return false
		}
	}
	return true
}

// dottedWord handles a word with a dot: an address, a range of them, or a domain.
func (s *Scanner) dottedWord(t []byte, start, end int, marks byteClass) {
	switch {
	case marks&(isLetter|isDash) == 0:
		s.dotted(t, start, end)
	case marks&isLetter == 0:
		s.addressesBetweenDashes(t, start, end)
	default:
		s.domain(t, start, end, marks)
	}
}

// mark handles the separator t[i], which can be part of an indicator or hide one, and returns where the scan goes on.
// ok is false when it is part of a defanged form that has to be written out.
func (s *Scanner) mark(t []byte, i int) (next int, ok bool) {
	switch t[i] {
	case ':':
		if i+1 < len(t) && t[i+1] == ':' && i >= s.notIPv6Until {
			return max(s.ipv6(t, i), i+1), true
		}
		if mayAnnounce(t, i) {
			s.detection(t, i)
		}
		return i + 1, true
	case '=':
		if mayAnnounce(t, i) {
			s.detection(t, i)
		}
		return i + 1, true
	case '(':
		if mayAnnounce(t, i) {
			s.detection(t, i)
		}
	case '@':
		s.quotedEmail(t, i)
	case '%':
		return s.percent(t, i)
	case '\\':
		return s.backslash(t, i)
	}
	return i + 1, !mayHide(t, i) || !s.hidden(t, i)
}

// emit appends an indicator that stands at t[start:end] of the current text.
func (s *Scanner) emit(typ Type, value []byte, start, end int) {
	if !s.wantType(typ) || !s.wantField() {
		s.drop(Unlisted, start, end)
		return
	}
	s.add(Match{Key: Key{typ, alias(value)}}, start, end)
}

func (s *Scanner) wantType(typ Type) bool { return s.Types == 0 || s.Types.Has(typ) }

// drop notes for explain what is no indicator, and by which rule.
func (s *Scanner) drop(rule Rule, start, end int) {
	if s.Explain && start < end {
		s.add(Match{Key: Key{None, alias(s.cur.text[start:end])}, Rule: rule}, start, end)
	}
}

// add appends m, which stands at t[start:end] of the current text.
func (s *Scanner) add(m Match, start, end int) {
	if s.cur.parent != nil {
		m.Value = alias(s.kept([]byte(m.Value))) // the text of a stage is overwritten by the next string
	}
	m.Start, m.End = s.cur.span(start, end)
	if s.field != nil {
		m.Field = s.field.dotted()
	}
	s.dst = append(s.dst, m)
}

// kept returns a copy of b that is good until the next line.
func (s *Scanner) kept(b []byte) []byte {
	from := len(s.memory)
	s.memory = append(s.memory, b...)
	return s.memory[from:]
}

// lowered returns b in lower case: itself, or a copy that is good until the next line.
func (s *Scanner) lowered(b []byte) []byte {
	if !hasUpper(b) {
		return b
	}
	b = s.kept(b)
	for i, c := range b {
		b[i] = lower(c)
	}
	return b
}
