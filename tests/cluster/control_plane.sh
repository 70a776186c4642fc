# etcd, API server, controller manager and scheduler, as plain processes of the machine.
# shellcheck shell=bash
start_control_plane() { # start_control_plane BIND_ADDRESS [ADVERTISED_ADDRESS]
  # Its data is thrown away with it, so etcd never waits for the disk.
  start etcd "$kube" etcd --data-dir "$CLUSTER_STATE/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "default=http://127.0.0.1:$peer_port"
  start apiserver "$kube" kube-apiserver --etcd-servers "http://127.0.0.1:$etcd_port" \
    --bind-address "$1" ${2:+--advertise-address "$2"} --secure-port "$api_port" \
    --service-cluster-ip-range "$service_cidr" --allow-privileged --authorization-mode Node,RBAC \
    --enable-admission-plugins NodeRestriction \
    --audit-policy-file "$here/config/audit.yaml" --audit-log-path "$audit_log" --audit-log-maxsize 2000 \
    --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
    --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
    --requestheader-client-ca-file "$pki/ca.crt" --requestheader-allowed-names front-proxy \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$pki/front-proxy.crt" --proxy-client-key-file "$pki/front-proxy.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key"
  wait_for 60 "API server" curl -fs --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "$server/readyz"
  # At the default of 20 requests a second its controllers start 0.15 s apart, 4 s in all.
  start kcm "$kube" kube-controller-manager --kubeconfig "$conf/kcm.kubeconfig" --leader-elect=false \
    --bind-address 127.0.0.1 --secure-port "$kcm_port" --use-service-account-credentials \
    --kube-api-qps 1000 --kube-api-burst 2000 \
    --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/sa.key" \
    --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key"
  start scheduler "$kube" kube-scheduler --kubeconfig "$conf/scheduler.kubeconfig" --leader-elect=false \
    --bind-address 127.0.0.1 --secure-port "$scheduler_port" --kube-api-qps 1000 --kube-api-burst 2000
  wait_for 30 "default service account" kubectl get serviceaccount default
  wait_for 30 "scheduler" curl -fsk "https://127.0.0.1:$scheduler_port/healthz"
}
