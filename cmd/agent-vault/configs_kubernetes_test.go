package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// manifest reads the objects of a file, by kind.
func manifest(t *testing.T, path string) map[string]kubeObject {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]kubeObject)
	for d := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		d.KnownFields(true)
		var o kubeObject
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, twice := found[o.Kind]; twice {
			t.Fatalf("%s: two of kind %s", path, o.Kind)
		}
		found[o.Kind] = o
	}
}

var pinnedPlaceholder = regexp.MustCompile(`^registry\.example\.com/[a-z-]+@sha256:0{64}$`)

// check holds a pod to what Kubernetes calls restricted, and its containers to
// what they are given.
func (p kubePod) check(t *testing.T) {
	t.Helper()
	u := p.SecurityContext
	if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken || p.EnableServiceLinks == nil || *p.EnableServiceLinks ||
		!u.RunAsNonRoot || u.RunAsUser != 65532 || u.RunAsGroup != 65532 || u.FSGroup != 65532 || u.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("the pod may more than it must: %+v", p)
	}
	var volumes []string
	for _, v := range p.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		s := c.SecurityContext
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s may more than it must: %+v", c.Name, s)
		}
		if !pinnedPlaceholder.MatchString(c.Image) {
			t.Errorf("%s: the image %s is no pinned placeholder", c.Name, c.Image)
		}
		if c.Resources.Limits["memory"] == "" {
			t.Errorf("%s has no limit", c.Name)
		}
		for _, m := range c.VolumeMounts {
			if !slices.Contains(volumes, m.Name) && m.Name != "data" { // of a volumeClaimTemplate
				t.Errorf("%s mounts %s, which is not there", c.Name, m.Name)
			}
		}
		for _, e := range c.Env {
			if strings.Contains(e.Value, "av_") || strings.HasSuffix(e.Name, "TOKEN") || strings.HasSuffix(e.Name, "PASSWORD") || e.Name == "AGENT_VAULT_INVITE" {
				t.Errorf("%s has a secret in %s", c.Name, e.Name)
			}
		}
	}
}

// TestKubernetesServer: names, labels and ports of the server's manifest meet.
func TestKubernetesServer(t *testing.T) {
	objects := manifest(t, "../../configs/kubernetes/server.yaml")
	if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, []string{"NetworkPolicy", "Service", "StatefulSet"}) {
		t.Fatalf("kinds %v; a Secret has no place here", got)
	}
	service, set, policy := objects["Service"].Spec, objects["StatefulSet"].Spec, objects["NetworkPolicy"].Spec
	labels := set.Template.Metadata.Labels
	var selected map[string]string
	var matched kubeSelector
	if err := errors.Join(service.Selector.Decode(&selected), set.Selector.Decode(&matched)); err != nil {
		t.Fatal(err)
	}
	if len(labels) == 0 || !maps.Equal(selected, labels) || !maps.Equal(matched.MatchLabels, labels) || !maps.Equal(policy.PodSelector.MatchLabels, labels) {
		t.Errorf("labels %v, selected by %v, %v and %v", labels, selected, matched, policy.PodSelector)
	}
	set.Template.Spec.check(t)
	server := set.Template.Spec.Containers[0]
	for n, p := range service.Ports {
		if c := server.Ports[n]; p.TargetPort != c.Name || p.Port != c.ContainerPort || policy.Ingress[0].Ports[n].Port != p.Port {
			t.Errorf("port %+v leads to %+v, and %+v may come in", p, c, policy.Ingress[0].Ports)
		}
		if !slices.Contains(server.Env, kubeEnv{"AGENT_VAULT_LISTEN_" + strings.ToUpper(p.Name), fmt.Sprintf("0.0.0.0:%d", p.Port)}) {
			t.Errorf("nothing listens for %s", p.Name)
		}
	}
	paths := map[string]string{"startup": "/health", "liveness": "/health", "readiness": "/ready"}
	for name, p := range map[string]*kubeProbe{"startup": server.StartupProbe, "liveness": server.LivenessProbe, "readiness": server.ReadinessProbe} {
		if p == nil || p.HTTPGet == nil || p.HTTPGet.Port != "api" || p.HTTPGet.Path != paths[name] {
			t.Errorf("the %s probe is %+v", name, p)
		}
	}
	if set.Replicas != 1 || set.ServiceName != objects["Service"].Metadata.Name || len(set.VolumeClaimTemplates) != 1 || set.Template.Spec.SecurityContext.FSGroupChangePolicy != "OnRootMismatch" {
		t.Errorf("%+v", set)
	}
	if !slices.Equal(policy.PolicyTypes, []string{"Ingress", "Egress"}) || policy.Egress[1].To[0].IPBlock == nil || !slices.Contains(policy.Egress[1].To[0].IPBlock.Except, "169.254.0.0/16") {
		t.Errorf("%+v", policy)
	}
}

// TestKubernetesAgent: the only way out of an agent's pod is the server, and the
// agent's container has neither the invite nor a way to the sidecar's files.
func TestKubernetesAgent(t *testing.T) {
	objects := manifest(t, "../../configs/kubernetes/agent.yaml")
	server := manifest(t, "../../configs/kubernetes/server.yaml")
	if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, []string{"Job", "NetworkPolicy"}) {
		t.Fatalf("kinds %v; a Secret has no place here", got)
	}
	job, policy := objects["Job"], objects["NetworkPolicy"]
	pod := job.Spec.Template.Spec
	pod.check(t)
	if job.Metadata.Namespace != policy.Metadata.Namespace || policy.Spec.PodSelector == nil || len(policy.Spec.PodSelector.MatchLabels) != 0 ||
		!slices.Equal(policy.Spec.PolicyTypes, []string{"Ingress", "Egress"}) || len(policy.Spec.Ingress) != 0 {
		t.Errorf("the policy is not of all pods, both ways: %+v", policy)
	}
	if len(policy.Spec.Egress) != 1 || len(policy.Spec.Egress[0].To) != 1 || len(policy.Spec.Egress[0].Ports) != 2 {
		t.Fatalf("more ways out than one: %+v", policy.Spec.Egress)
	}
	to := policy.Spec.Egress[0].To[0]
	home := server["StatefulSet"].Metadata.Namespace
	if to.IPBlock != nil || to.NamespaceSelector == nil || to.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != home ||
		to.PodSelector == nil || !maps.Equal(to.PodSelector.MatchLabels, server["StatefulSet"].Spec.Template.Metadata.Labels) {
		t.Errorf("the way out leads to %+v", to)
	}
	for n, p := range policy.Spec.Egress[0].Ports {
		if p.Port != server["Service"].Spec.Ports[n].Port {
			t.Errorf("port %d leads nowhere", p.Port)
		}
	}
	if a := pod.HostAliases; len(a) != 1 || a[0].IP != server["Service"].Spec.ClusterIP || pod.DNSPolicy != "None" {
		t.Errorf("the server is found at %+v", a)
	}
	sidecar, agent := pod.InitContainers[0], pod.Containers[0]
	if sidecar.RestartPolicy != "Always" || sidecar.StartupProbe == nil || !slices.Contains(sidecar.Command, "--invite") || !slices.Contains(sidecar.Command, "--proxy-port=14322") {
		t.Errorf("the sidecar is %+v", sidecar)
	}
	if len(agent.VolumeMounts) != 1 || slices.ContainsFunc(sidecar.VolumeMounts, func(m kubeMount) bool { return m.Name == agent.VolumeMounts[0].Name }) {
		t.Errorf("the agent shares files with the sidecar: %+v", agent.VolumeMounts)
	}
	if pod.RestartPolicy != "Never" || job.Spec.BackoffLimit == nil || *job.Spec.BackoffLimit != 0 || pod.ShareProcessNamespace {
		t.Errorf("%+v", job.Spec)
	}
	for _, e := range agent.Env {
		if strings.HasPrefix(strings.ToUpper(e.Name), "HTTP") && e.Value != "http://127.0.0.1:14322" {
			t.Errorf("%s=%s is not the sidecar", e.Name, e.Value)
		}
	}
}

// TestManifestsStartServers: a server takes the variables that it is given in
// the manifests, and answers probes by any address, and agents by its name.
func TestManifestsStartServers(t *testing.T) {
	given := make(map[string]map[string]string)
	given["kubernetes"] = make(map[string]string)
	for _, e := range manifest(t, "../../configs/kubernetes/server.yaml")["StatefulSet"].Spec.Template.Spec.Containers[0].Env {
		given["kubernetes"][e.Name] = e.Value
	}
	given["compose"] = composeFile(t).Services["vault"].Environment
	for name, variables := range given {
		t.Run(name, func(t *testing.T) {
			i := &instance{t: t, dir: t.TempDir(), before: []string{"env"}}
			for file, content := range map[string]string{"password": "a long master password", "config.yaml": "{}"} {
				if err := os.WriteFile(i.path(file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			here := map[string]string{
				"AGENT_VAULT_LISTEN_API": "127.0.0.1:0", "AGENT_VAULT_LISTEN_PROXY": "127.0.0.1:0", // where others cannot see them
				"AGENT_VAULT_DATA_DIR": i.path("data"), "AGENT_VAULT_MASTER_PASSWORD_FILE": i.path("password"),
			}
			for variable, value := range variables {
				if _, elsewhere := here[variable]; !elsewhere {
					here[variable] = value
				}
			}
			for variable, value := range here {
				i.before = append(i.before, variable+"="+value)
			}
			i.start()
			t.Cleanup(i.stop)
			for host, want := range map[string]int{"10.1.2.3:14321": 200, strings.TrimPrefix(here["AGENT_VAULT_BASE_URL"], "http://"): 200, "other.test": 403} {
				req, err := http.NewRequest("GET", i.API+"/health", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = host
				if a := roundTrip(t, req); a.status != want {
					t.Errorf("Host %s: %d %s, want %d", host, a.status, a.body, want)
				}
			}
		})
	}
}
