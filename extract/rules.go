package extract

// A Rule says why something that looks like an indicator is none. [Accepted] is the zero Rule.
type Rule uint8

// The rules, in the order in which docs/extraction.md tells them.
const (
	Accepted     Rule = iota
	BadOctet          // an octet over 255, or one with leading zeros
	Version           // a version or build number of four parts
	NumberRun         // more or fewer than four numbers between dots: an OID, a section, a date
	ObjectID          // four numbers that are an object identifier
	NotTLD            // what follows the last dot is no top-level domain
	PublicSuffix      // a suffix under which names are registered, such as co.uk
	BadLabel          // a label that is empty, too long, or has a hyphen at an end
	Underscore        // an underscore in the registered name or the top-level domain
	BundleName        // a reversed name, such as com.apple.mail
	ClassName         // a class, package or member name by its capitals
	FileName          // a file by its extension and what stands beside it
	Property          // a property of a program, such as user.name
	Call              // a function or method: a bracket follows
	Assigned          // the key of an assignment
	UserHost          // user@host without a top-level domain
	MessageID         // the identifier of a mail
	Jabber            // an XMPP address, which looks like an e-mail's
	Masked            // an e-mail address with its middle blotted out
	HardwareAddr      // a MAC, EUI-64 or fingerprint
	NotAssigned       // an IPv6 form outside all assigned ranges: C++ scopes, times
	HexRun            // a piece of a longer run
	OtherHash         // a hash of something else than a file: imports, certificates, TLS handshakes, accounts
	TraceID           // an identifier of a request, trace, session or tenant, and any UUID
	Digits            // a hash of decimal digits only, or of nothing but F
	TooLong           // longer than any indicator
	Unlisted          // of a type that --types leaves out
	numRules
)

var ruleTexts = [numRules]string{
	Accepted:     "accepted",
	BadOctet:     "bad-octet: an octet is over 255 or has leading zeros",
	Version:      "version: a version or build number",
	NumberRun:    "number-run: not four numbers between dots",
	ObjectID:     "object-id: an object identifier",
	NotTLD:       "not-a-tld: the last label is no top-level domain",
	PublicSuffix: "public-suffix: names are registered below it, it is none itself",
	BadLabel:     "bad-label: a label is empty, too long or has a hyphen at an end",
	Underscore:   "underscore: in the registered name or the top-level domain",
	BundleName:   "bundle-name: a reversed name of a program or package",
	ClassName:    "class-name: capitals as in the name of a class or member",
	FileName:     "file-name: a file by its extension and its surroundings",
	Property:     "property: the name of a setting or member",
	Call:         "call: a bracket follows, as after a function",
	Assigned:     "assigned: the key of an assignment",
	UserHost:     "user-host: no top-level domain after the @",
	MessageID:    "message-id: the identifier of a mail",
	Jabber:       "jabber: an XMPP address",
	Masked:       "masked: an e-mail address with a part blotted out",
	HardwareAddr: "hardware-address: a MAC, EUI-64 or fingerprint",
	NotAssigned:  "not-assigned: outside all ranges that addresses come from",
	HexRun:       "hex-run: a piece of a longer run of digits",
	OtherHash:    "other-hash: of imports, a certificate's number, a handshake or an account, not of a file",
	TraceID:      "trace-id: names a request, trace, session or tenant, or is a UUID",
	Digits:       "digits: a hash has more variety",
	TooLong:      "too-long: longer than any indicator",
	Unlisted:     "unlisted: of a type or in a field that was not asked for",
}

// String returns the rule's name and what it says, as explain prints it.
func (r Rule) String() string { return ruleTexts[r] }
