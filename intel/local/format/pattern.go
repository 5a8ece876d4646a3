package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"iocpipe/extract"
)

// patternPaths are the properties of observables that hold what is looked for, without quotes.
var patternPaths = map[string]types{
	"ipv4-addr:value": anIP | aNetwork, "ipv6-addr:value": anIP | aNetwork, "domain-name:value": aDomain,
	"url:value": aURL, "email-addr:value": anEmail,
	"network-traffic:dst_ref.value": 0, "network-traffic:src_ref.value": 0,
	"email-message:from_ref.value": anEmail, "email-message:sender_ref.value": anEmail,
	"file:hashes.MD5": aHash, "file:hashes.SHA-1": aHash, "file:hashes.SHA-256": aHash, "file:hashes.SHA-512": aHash,
	"file:hashes.SHA1": aHash, "file:hashes.SHA256": aHash, "file:hashes.SHA512": aHash,
}

// A term is one comparison of a pattern: a property is one of these values.
type term struct {
	path   string
	values []string

	sample   []extract.Key // of a hash: the hashes of the same file
	resolved []string      // of a domain: the addresses that it must resolve to
}

var (
	errObservations = unwanted{errors.New("pattern needs more than one observation")}
	errPattern      = errors.New("pattern is malformed")
)

// maxDepth bounds the brackets within brackets of a pattern.
const maxDepth = 50

// parsePattern reads a pattern of STIX that is met by a single value: comparisons with =, IN and ISSUBSET, joined by
// OR. What is joined by AND is one value still when all else only narrows it: the type of an address and its port, the
// name of a file beside its hashes, the address of a domain. Source: STIX 2.1, section 9
func parsePattern(pattern string) ([]term, error) {
	p := patternParser{rest: pattern}
	p.next()
	terms := p.alternatives(p.observation)
	switch {
	case p.err != nil:
		return nil, p.err
	case p.token != "":
		return nil, p.unexpected()
	}
	return terms, nil
}

// A patternParser reads a pattern token by token; the first error stays.
type patternParser struct {
	rest   string
	token  string // "" at the end; a literal without its quotes
	quoted bool   // whether it is a literal
	depth  int
	err    error
}

func (p *patternParser) fail(err error) []term {
	if p.err == nil {
		p.err = err
	}
	p.token, p.rest, p.quoted = "", "", false
	return nil
}

// complex are the words that ask for more than one value, or for something other than a value.
var complexWords = []string{"AND", "FOLLOWEDBY", "NOT", "WITHIN", "REPEATS", "START", "STOP", "LIKE", "MATCHES",
	"ISSUPERSET", "EXISTS", "!=", "<>", "<", ">", "<=", ">="}

// unexpected returns the error for the token at hand.
func (p *patternParser) unexpected() error {
	if !p.quoted && slices.Contains(complexWords, p.token) {
		return errObservations
	}
	return fmt.Errorf("%w at %q", errPattern, shorten(p.token+p.rest))
}

// next reads the next token.
func (p *patternParser) next() {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	p.token, p.quoted = "", false
	if p.rest == "" {
		return
	}
	switch c := p.rest[0]; c {
	case '\'':
		p.literal()
	case '[', ']', '(', ')', ',':
		p.token, p.rest = p.rest[:1], p.rest[1:]
	case '=', '<', '>', '!':
		p.take(strings.IndexFunc(p.rest, func(r rune) bool { return !strings.ContainsRune("=<>!", r) }))
	default:
		p.word()
	}
}

func (p *patternParser) take(n int) {
	if n <= 0 {
		n = len(p.rest)
	}
	p.token, p.rest = p.rest[:n], p.rest[n:]
}

// literal reads a string, whose quotes and backslashes are escaped by a backslash.
func (p *patternParser) literal() {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		case c == '\'':
			p.token, p.rest, p.quoted = b.String(), p.rest[i+1:], true
			return
		default:
			b.WriteByte(c)
		}
	}
	p.fail(fmt.Errorf("%w: a quote is not closed", errPattern))
}

// word reads a keyword, a number, or the path of a property, in which names may be quoted and indexes bracketed.
func (p *patternParser) word() {
	var b strings.Builder
	i := 0
	for ; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == '\'' && i > 0 && (p.rest[i-1] == '.' || p.rest[i-1] == ':') {
			end := strings.IndexByte(p.rest[i+1:], '\'')
			if end < 0 {
				break
			}
			b.WriteString(p.rest[i+1 : i+1+end])
			i += end + 1
			continue
		}
		if strings.IndexByte(" \t\r\n()],=<>!'", c) >= 0 || c == '[' && b.Len() == 0 {
			break
		}
		if c == '[' { // an index
			end := strings.IndexByte(p.rest[i:], ']')
			if end < 0 {
				break
			}
			b.WriteString(p.rest[i : i+end+1])
			i += end
			continue
		}
		b.WriteByte(c)
	}
	if i == 0 {
		p.fail(errPattern)
		return
	}
	p.token, p.rest = b.String(), p.rest[i:]
}

// is reports whether the token at hand is this mark or keyword, and passes over it.
func (p *patternParser) is(token string) bool {
	if p.quoted || p.token != token {
		return false
	}
	p.next()
	return true
}

// alternatives reads what is joined by OR.
func (p *patternParser) alternatives(one func() []term) []term {
	terms := one()
	for p.is("OR") {
		terms = append(terms, one()...)
	}
	return terms
}

// within reads what one reads up to the closing bracket.
func (p *patternParser) within(end string, one func() []term) []term {
	if p.depth++; p.depth > maxDepth {
		return p.fail(fmt.Errorf("%w: too many brackets", errPattern))
	}
	terms := p.alternatives(one)
	if p.depth--; !p.is(end) {
		return p.fail(p.unexpected())
	}
	return terms
}

func (p *patternParser) observation() []term {
	switch {
	case p.is("["):
		return p.within("]", p.conjunction)
	case p.is("("):
		return p.within(")", p.observation)
	}
	return p.fail(p.unexpected())
}

// conjunction reads what is joined by AND, which must be about a single value.
func (p *patternParser) conjunction() []term {
	terms := p.comparison()
	if p.quoted || p.token != "AND" {
		return terms
	}
	for p.is("AND") {
		terms = append(terms, p.comparison()...)
	}
	if p.err != nil {
		return nil
	}
	if terms = single(terms); terms == nil {
		return p.fail(errObservations)
	}
	return terms
}

// single returns the one value, or the hashes of one file, that all of terms are about; nil when there is no such.
func single(terms []term) []term {
	hashes := slices.ContainsFunc(terms, isHashTerm)
	var resolved []string
	var rest []term
	for _, t := range terms {
		switch {
		case strings.HasPrefix(t.path, "domain-name:resolves_to_refs"):
			resolved = append(resolved, t.values...)
		case narrows(t.path), hashes && strings.HasPrefix(t.path, "file:") && !isHashTerm(t):
		default:
			rest = append(rest, t)
		}
	}
	switch {
	case len(rest) == 1 && (resolved == nil || rest[0].path == "domain-name:value"):
		rest[0].resolved = resolved
		return rest
	case len(rest) == 0 || resolved != nil:
		return nil
	}
	return sameFile(rest)
}

// narrows reports whether a property of an address or a connection tells no more than how it was met.
func narrows(path string) bool {
	return strings.HasSuffix(path, "_ref.type") || strings.HasPrefix(path, "network-traffic:") &&
		(strings.HasSuffix(path, "_port") || strings.Contains(path, ":protocols"))
}

func isHashTerm(t term) bool { return strings.HasPrefix(t.path, "file:hashes.") }

// sameFile returns terms that are hashes of one file, each of another kind; nil for any others.
func sameFile(terms []term) []term {
	var sample []extract.Key
	for _, t := range terms {
		key, ok := extract.ParseKey(t.values[0])
		if !ok || !key.Type.IsHash() || !isHashTerm(t) || len(t.values) > 1 ||
			slices.ContainsFunc(sample, func(other extract.Key) bool { return other.Type == key.Type }) {
			return nil
		}
		sample = append(sample, key)
	}
	for i := range terms {
		terms[i].sample = sample
	}
	return terms
}

func (p *patternParser) comparison() []term {
	if p.is("(") {
		return p.within(")", p.conjunction)
	}
	path := p.token
	if p.quoted || !strings.Contains(path, ":") {
		return p.fail(p.unexpected())
	}
	p.next()
	switch {
	case p.is("="), p.is("=="), p.is("ISSUBSET"):
		return []term{{path: path, values: p.values(1)}}
	case p.is("LIKE"): // '%.evil.test' is *.evil.test; other wildcards are not one value
		name, ok := strings.CutPrefix(p.token, "%.")
		if !p.quoted || !ok || strings.ContainsAny(name, "%_") {
			return p.fail(errObservations)
		}
		p.next()
		return []term{{path: path, values: []string{"*." + name}}}
	case p.is("IN"):
		if !p.is("(") {
			return p.fail(p.unexpected())
		}
		values := p.values(len(p.rest))
		if !p.is(")") {
			return p.fail(p.unexpected())
		}
		return []term{{path: path, values: values}}
	}
	return p.fail(p.unexpected())
}

// values reads up to most constants, with commas between them. What is no string is read as "".
func (p *patternParser) values(most int) (values []string) {
	for {
		value := p.token
		if !p.quoted {
			value = ""
			if strings.Contains("()[],", p.token) || slices.Contains(complexWords, p.token) { // "" too, at the end
				p.fail(p.unexpected())
				return []string{""}
			}
			if strings.HasPrefix(p.rest, "'") { // of t'…', h'…' and b'…'
				p.next()
			}
		}
		values = append(values, value)
		if p.next(); len(values) >= most || !p.is(",") {
			return values
		}
	}
}
