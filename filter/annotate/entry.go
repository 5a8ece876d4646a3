package annotate

import (
	"strconv"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// kindOf returns the kind of a value as matched.id spells it.
func kindOf(t extract.Type) string {
	if t.IsHash() {
		return "file"
	}
	return t.String()
}

// votesOf returns the votes for the indicator itself. A related one has none: the report is another's.
func votesOf(f *intel.Finding) (votes int8, voted bool) {
	if f.Report == nil || f.Verdict == intel.Related {
		return 0, false
	}
	return f.Report.Votes, f.Report.Voted
}

// appendEntry appends the own entry of p, whose match was first made at occurred.
func (a *Annotator) appendEntry(dst []byte, p *pick, occurred []byte) []byte {
	related := relatedTo(&p.hit.Finding, p.hit.Value)
	dst = append(dst, '{')
	dst = a.appendIndicator(dst, p, &related)
	dst = a.appendMatched(dst, p, occurred)
	dst = append(appendName(dst, "feed"), '{')
	dst = appendField(dst, "name", p.hit.Finding.Source)
	dst = append(appendClose(dst, '}'), ',')
	dst = a.appendKnown(dst, &p.hit.Finding, &related)
	return appendClose(dst, '}')
}

func (a *Annotator) appendIndicator(dst []byte, p *pick, related *related) []byte {
	f := &p.hit.Finding
	dst = append(appendName(dst, "indicator"), '{')
	dst = appendTyped(dst, p.hit.Key)
	dst = appendField(dst, "provider", f.Source)
	if link := reference(f); link != "" && len(link) <= maxKeyword { // half a link would lead elsewhere
		dst = appendField(dst, "reference", link)
	}
	if confidence := a.Confidence[f.Verdict]; confidence != "" {
		dst = appendField(dst, "confidence", confidence)
	}
	a.phrase = appendDescription(a.phrase[:0], f, related)
	dst = appendField(dst, "description", a.phrase)
	if seen := lastSeen(f); !seen.IsZero() {
		dst = append(appendName(dst, "last_seen"), '"')
		dst = append(AppendTime(dst, seen), `",`...)
	}
	return append(appendClose(dst, '}'), ',')
}

// appendTyped appends the members of an indicator that its type decides. ECS has no type for detection names.
func appendTyped(dst []byte, key extract.Key) []byte {
	kind, open, name, shut := "", "", key.Type.String(), ""
	switch {
	case key.Type == extract.IP && strings.Contains(key.Value, ":"):
		kind = "ipv6-addr"
	case key.Type == extract.IP:
		kind = "ipv4-addr"
	case key.Type == extract.Domain:
		kind, open, shut = "domain-name", `"url":{`, "},"
	case key.Type == extract.Email:
		kind, open, name, shut = "email-addr", `"email":{`, "address", "},"
	case key.Type.IsHash():
		kind, open, shut = "file", `"file":{"hash":{`, "}},"
	default:
		return appendField(dst, "name", key.Value)
	}
	dst = appendField(dst, "type", kind)
	dst = appendField(dst, "name", key.Value)
	dst = append(dst, open...)
	dst = appendField(dst, name, key.Value)
	if shut != "" {
		dst = append(dst[:len(dst)-1], shut...)
	}
	return dst
}

func (a *Annotator) appendMatched(dst []byte, p *pick, occurred []byte) []byte {
	dst = append(appendName(dst, "matched"), '{')
	dst = appendField(dst, "atomic", p.atomic)
	dst = appendField(dst, "field", p.field)
	dst = append(appendName(dst, "id"), '"')
	dst = append(append(dst, p.hit.Finding.Origin...), ':')
	dst = append(append(dst, kindOf(p.hit.Type)...), ':')
	dst = append(appendEscaped(dst, p.hit.Value), '"', ',')
	dst = appendField(dst, "index", "iocpipe")
	dst = appendField(dst, "occurred", occurred)
	if a.MatchedType != "" {
		dst = appendField(dst, "type", a.MatchedType)
	}
	return append(appendClose(dst, '}'), ',')
}

// appendKnown appends the iocpipe object of an entry: what ECS has no field for.
func (a *Annotator) appendKnown(dst []byte, f *intel.Finding, related *related) []byte {
	dst = append(appendName(dst, "iocpipe"), '{')
	if votes, voted := votesOf(f); voted {
		dst = appendNumber(dst, "votes", int(votes))
	}
	dst = appendField(dst, "verdict", f.Verdict.String())
	if f.Verdict == intel.Related {
		dst = appendField(dst, "via", f.Via.Value)
		dst = appendField(dst, "relation", f.Relation)
	} else {
		dst = appendField(dst, "response_code", "1")
	}
	if f.Stale {
		dst = append(appendName(dst, "stale"), "true,"...)
	}
	if related.total() > 0 {
		dst = append(appendName(dst, "related"), '{')
		dst = a.appendRelated(dst, f, related)
		dst = append(appendClose(dst, '}'), ',')
	}
	return appendClose(dst, '}')
}

// reference returns the page for people about the report; for a related indicator it is about the one that names it.
func reference(f *intel.Finding) string {
	if f.Report == nil {
		return ""
	}
	return f.Report.Permalink
}

// lastSeen returns the newest day in the indicator's own report, or the zero time.
func lastSeen(f *intel.Finding) time.Time {
	if f.Report == nil || f.Verdict == intel.Related {
		return time.Time{}
	}
	return f.Report.LastSeen()
}

// appendDescription appends one line that says in words what an entry means.
func appendDescription(dst []byte, f *intel.Finding, related *related) []byte {
	votes, voted := votesOf(f)
	switch {
	case f.Verdict == intel.Related:
		dst = append(append(dst, "named by what "...), f.Source...)
		dst = append(append(dst, " reports on malicious "...), f.Via.Value...)
		dst = append(appendRelation(append(dst, ' '), f), "; not reported itself"...)
		return dst
	case f.Origin == intel.FromLocal && f.Verdict == intel.Malicious:
		dst = append(append(dst, "listed as malicious by "...), f.Source...)
	case !voted:
		dst = append(append(dst, f.Source...), " has a report without votes"...)
	default:
		dst = append(append(dst, f.Source...), " votes "...)
		dst = strconv.AppendInt(dst, int64(votes), 10)
		dst = append(append(dst, ": "...), opinions[votes+1]...)
	}
	if related.total() > 0 {
		dst = appendCounts(append(dst, "; "...), related, " and ")
		dst = append(dst, " related"...)
	}
	return dst
}

// opinions says what votes of -1, 0 and 1 mean.
var opinions = [...]string{
	"most voters call it malicious",
	"voters are divided, or nobody voted",
	"most voters call it harmless",
}

// appendRelation appends how a related indicator is related, and when that was last seen, in parentheses.
func appendRelation(dst []byte, f *intel.Finding) []byte {
	dst = append(append(dst, '('), f.Relation...)
	if !f.Seen.IsZero() {
		dst = f.Seen.UTC().AppendFormat(append(dst, ", "...), time.DateOnly)
	}
	return append(dst, ')')
}
