# The cluster's certificate authority, its members' certificates and their kubeconfigs.
# shellcheck shell=bash
make_certificates() { # make_certificates [node]
  mkdir -p "$pki" && chmod 700 "$pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=cluster-ca \
    -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/sa.key"
  openssl ec -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
  local service=kubernetes.default.svc
  certificate apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:127.0.0.1,IP:$host_ip,IP:$api_service_ip" &
  certificate admin /O=system:masters/CN=admin &
  certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet &
  certificate front-proxy /CN=front-proxy &
  certificate kcm /CN=system:kube-controller-manager &
  certificate scheduler /CN=system:kube-scheduler &
  if [[ ${1-} ]]; then
    certificate kubelet "/O=system:nodes/CN=system:node:$node_name" "DNS:$node_name,IP:$node_ip" &
    certificate proxy /CN=system:kube-proxy &
    certificate dns /CN=system:coredns &
  fi
  wait
  make_kubeconfig admin "$server" "$kubeconfig"
  local member
  for member in kcm scheduler; do make_kubeconfig $member "$server" "$conf/$member.kubeconfig"; done
  [[ ${1-} ]] || return 0
  for member in kubelet proxy dns; do
    make_kubeconfig $member "https://$host_ip:$api_port" "$conf/$member.kubeconfig"
  done
}

certificate() { # certificate NAME SUBJECT [NAMES]: a key and a certificate, signed by the authority
  openssl req -x509 -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -days 3650 -subj "$2" -keyout "$pki/$1.key" -out "$pki/$1.crt" \
    -config <(printf '[req]\ndistinguished_name = name\n[name]\n') \
    -addext "extendedKeyUsage = serverAuth,clientAuth" ${3:+-addext "subjectAltName = $3"} 2>/dev/null
}

make_kubeconfig() { # make_kubeconfig CERTIFICATE SERVER FILE
  local ca crt key
  ca=$(base64 -w0 "$pki/ca.crt") crt=$(base64 -w0 "$pki/$1.crt") key=$(base64 -w0 "$pki/$1.key")
  (umask 077; cat >"$3") <<END
{"apiVersion": "v1", "kind": "Config", "current-context": "test",
 "clusters": [{"name": "test", "cluster": {"server": "$2", "certificate-authority-data": "$ca"}}],
 "users": [{"name": "$1", "user": {"client-certificate-data": "$crt", "client-key-data": "$key"}}],
 "contexts": [{"name": "test", "context": {"cluster": "test", "user": "$1"}}]}
END
}
