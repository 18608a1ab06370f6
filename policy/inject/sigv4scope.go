package inject

import (
	"regexp"
	"slices"
	"strings"
)

// scopeWord is what a region or a service is called in a signature's scope.
var scopeWord = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// scope returns the service and the region to sign for: what was declared, else
// what the agent signed for, else what the host's name says.
//
// What the agent signed for counts for the service on AWS's own hosts only, and not
// where customers' code answers: anybody else could pass a signature for another
// service on to AWS.
func (a awsSigV4) scope(r *Request) (service, region string, err error) {
	host := hostScope(r.Host)
	agents := agentsScope(r.AgentsAuthorization)
	service, region = a.Service, a.Region
	if service == "" && host.aws && !host.customers {
		service = agents.service
	}
	if service == "" {
		service = host.service
	}
	if region == "" {
		region = agents.region
	}
	if region == "" {
		region = host.region
	}
	switch {
	case service == "" && !host.aws:
		return "", "", &RequestError{"the vault does not know which service to sign for: for a host that is not AWS's, a person names it in the field service of the auth"}
	case service == "":
		return "", "", &RequestError{"the vault does not know which service to sign for: sign the request with any keys, or ask a person to name the service in the auth"}
	case region == "":
		return "", "", &RequestError{"the vault does not know which region to sign for: sign the request with any keys, or ask a person to name the region in the auth"}
	}
	return service, region, nil
}

// A scopeHint is what a signature or a host's name says of the scope.
type scopeHint struct {
	service, region string
	aws             bool // the host is AWS's
	customers       bool // what AWS's customers run there may see the request
}

// agentsScope reads the scope of a signature, the zero hint if it is not well
// formed.
func agentsScope(authorization string) scopeHint {
	rest, ok := strings.CutPrefix(authorization, sigV4Algorithm+" ")
	if !ok {
		return scopeHint{}
	}
	for part := range strings.SplitSeq(rest, ",") {
		credential, ok := strings.CutPrefix(strings.TrimSpace(part), "Credential=")
		if !ok {
			continue
		}
		words := strings.Split(credential, "/") // the key's id may hold one
		if n := len(words); n >= 5 && words[n-1] == "aws4_request" && isDate(words[n-4]) && scopeWord.MatchString(words[n-3]) && scopeWord.MatchString(words[n-2]) {
			return scopeHint{service: words[n-2], region: words[n-3]}
		}
		break
	}
	return scopeHint{}
}

func isDate(s string) bool {
	return len(s) == 8 && strings.Trim(s, "0123456789") == ""
}

// awsDomains end the names of AWS's endpoints.
var awsDomains = []string{".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".on.aws"}

var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,2}-[0-9]{1,2}$`)

// signedAs are endpoints whose signatures bear another name.
var signedAs = map[string]string{
	"bedrock-runtime": "bedrock", "bedrock-agent": "bedrock", "bedrock-agent-runtime": "bedrock",
	"email": "ses", "queue": "sqs", "git-codecommit": "codecommit", "appconfigdata": "appconfig", "appsync-api": "appsync",
	"transcribestreaming": "transcribe", "personalize-runtime": "personalize", "lambda-url": "lambda",
	"s3-accesspoint": "s3", "s3-control": "s3", "s3-accelerate": "s3",
}

// customersCode are endpoints behind which the code of customers answers.
var customersCode = []string{"execute-api", "lambda-url", "vpc-lattice-svcs", "elb"}

// oneRegion are services with one endpoint for a whole partition.
var oneRegion = []string{"iam", "sts", "s3", "route53", "cloudfront", "organizations", "budgets", "ce", "shield", "waf"}

// hostScope reads what the name of one of AWS's hosts says:
// [anything.]service.region.amazonaws.com and its variations.
func hostScope(authority string) (h scopeHint) {
	host, _, _ := strings.Cut(authority, ":")
	for _, domain := range awsDomains {
		if rest, ok := strings.CutSuffix(host, domain); ok {
			host, h.aws = rest, true
			break
		}
	}
	if !h.aws {
		return h
	}
	labels := slices.DeleteFunc(strings.Split(host, "."), func(l string) bool { return l == "dualstack" || l == "vpce" })
	labels = append([]string{"", ""}, labels...) // so that there are two at least
	before, last := labels[len(labels)-2], labels[len(labels)-1]
	switch old, s3 := strings.CutPrefix(last, "s3-"); {
	case regionName.MatchString(last):
		h.service, h.region = before, last
	case regionName.MatchString(before): // clusters and machines of customers
		h.service, h.region, h.customers = last, before, true
	case s3 && regionName.MatchString(old):
		h.service, h.region = "s3", old
	case slices.Contains(oneRegion, last):
		h.service, h.region = last, "us-east-1"
	default:
		h.service, h.customers = last, true
	}
	h.service = strings.TrimSuffix(h.service, "-fips")
	h.customers = h.customers || slices.Contains(customersCode, h.service) || strings.HasPrefix(h.service, "vpce-svc-")
	if other, ok := signedAs[h.service]; ok {
		h.service = other
	}
	if strings.HasPrefix(h.service, "s3express-") { // of one zone
		h.service = "s3express"
	}
	return h
}

// isS3 reports whether a service takes paths and payloads as S3 does.
func isS3(service string) bool {
	switch service {
	case "s3", "s3express", "s3-outposts", "s3-object-lambda":
		return true
	}
	return false
}
