package main_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The parts of Kubernetes' objects that our manifests use: whatever else stands
// in one is an error. make images holds them against Kubernetes' own types.
type (
	kubeObject struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   kubeMetadata
		Spec       struct {
			kubeServiceSpec       `yaml:",inline"`
			kubeWorkloadSpec      `yaml:",inline"`
			kubeNetworkPolicySpec `yaml:",inline"`

			Selector yaml.Node // of a Service: labels; of a StatefulSet: a kubeSelector
		}
	}
	kubeMetadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	kubeServiceSpec struct {
		Type      string
		ClusterIP string `yaml:"clusterIP"`
		Ports     []kubePort
	}
	kubeWorkloadSpec struct { // StatefulSet and Job
		ServiceName             string `yaml:"serviceName"`
		Replicas                int
		BackoffLimit            *int `yaml:"backoffLimit"`
		TTLSecondsAfterFinished int  `yaml:"ttlSecondsAfterFinished"`
		Template                struct {
			Metadata kubeMetadata
			Spec     kubePod
		}
		VolumeClaimTemplates []struct {
			Metadata kubeMetadata
			Spec     struct {
				AccessModes []string `yaml:"accessModes"`
				Resources   kubeResources
			}
		} `yaml:"volumeClaimTemplates"`
	}
	kubeNetworkPolicySpec struct {
		PodSelector     *kubeSelector `yaml:"podSelector"`
		PolicyTypes     []string      `yaml:"policyTypes"`
		Ingress, Egress []kubeRule
	}
	kubeSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	kubePort struct {
		Name, Protocol string
		Port           int
		TargetPort     string `yaml:"targetPort"`
		ContainerPort  int    `yaml:"containerPort"`
	}
	kubeRule struct {
		From, To []kubePeer
		Ports    []kubePort
	}
	kubePeer struct {
		NamespaceSelector *kubeSelector `yaml:"namespaceSelector"`
		PodSelector       *kubeSelector `yaml:"podSelector"`
		IPBlock           *struct {
			CIDR   string
			Except []string
		} `yaml:"ipBlock"`
	}
	kubePod struct {
		AutomountServiceAccountToken  *bool  `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            *bool  `yaml:"enableServiceLinks"`
		ShareProcessNamespace         bool   `yaml:"shareProcessNamespace"`
		TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
		RestartPolicy                 string `yaml:"restartPolicy"`
		DNSPolicy                     string `yaml:"dnsPolicy"`
		DNSConfig                     struct {
			Nameservers []string
		} `yaml:"dnsConfig"`
		HostAliases []struct {
			IP        string
			Hostnames []string
		} `yaml:"hostAliases"`
		SecurityContext struct {
			RunAsNonRoot        bool                  `yaml:"runAsNonRoot"`
			RunAsUser           int                   `yaml:"runAsUser"`
			RunAsGroup          int                   `yaml:"runAsGroup"`
			FSGroup             int                   `yaml:"fsGroup"`
			FSGroupChangePolicy string                `yaml:"fsGroupChangePolicy"`
			SeccompProfile      struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		InitContainers []kubeContainer `yaml:"initContainers"`
		Containers     []kubeContainer
		Volumes        []struct { // no other kinds, and nothing of the node's
			Name   string
			Secret *struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
			}
			EmptyDir *struct {
				Medium    string
				SizeLimit string `yaml:"sizeLimit"`
			} `yaml:"emptyDir"`
		}
	}
	kubeEnv   struct{ Name, Value string }
	kubeMount struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	}
	kubeResources struct{ Requests, Limits map[string]string }
	kubeContainer struct {
		Name, Image     string
		RestartPolicy   string `yaml:"restartPolicy"`
		Command, Args   []string
		Env             []kubeEnv
		Ports           []kubePort
		StartupProbe    *kubeProbe `yaml:"startupProbe"`
		LivenessProbe   *kubeProbe `yaml:"livenessProbe"`
		ReadinessProbe  *kubeProbe `yaml:"readinessProbe"`
		Resources       kubeResources
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []kubeMount `yaml:"volumeMounts"`
	}
	kubeProbe struct {
		HTTPGet          *struct{ Path, Port string } `yaml:"httpGet"`
		Exec             *struct{ Command []string }
		PeriodSeconds    int `yaml:"periodSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
)

// A compose is what our file has of Compose's format: whatever else stands in it
// is an error.
type compose struct {
	Name     string
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Secrets     []string
		Volumes     []string
		Networks    []string
		DNS         []string
		Ports       []string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck *struct {
			Test              []string
			Interval, Timeout string
			Retries           int
		}
		ReadOnly    bool `yaml:"read_only"`
		Tmpfs       []string
		CapDrop     []string `yaml:"cap_drop"`
		SecurityOpt []string `yaml:"security_opt"`
		Restart     string
	}
	Networks map[string]struct {
		Internal   bool
		DriverOpts map[string]string `yaml:"driver_opts"`
	}
	Volumes map[string]struct{}
	Secrets map[string]struct{ File string }
}

func composeFile(t *testing.T) (c compose) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(readFile(t, "../../configs/compose/compose.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}
