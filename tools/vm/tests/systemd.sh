# A machine of systemd's: two stories that ask for scopes, the one told by a service of root's, the other by a user's.
mount -t tmpfs run /run
mkdir -p /run/tmp /run/user/1000 /etc/systemd/system
chmod 1777 /run/tmp
chown 1000:1000 /run/user/1000
cat >/etc/systemd/system/default.target <<'END'
[Unit]
DefaultDependencies=no
Wants=story.service manager.service
END
cat >/etc/systemd/system/story.service <<'END'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /root/story
StandardOutput=file:/root/told
StandardError=inherit
END
cat >/etc/systemd/system/manager.service <<'END'
[Unit]
DefaultDependencies=no
[Service]
User=learner
Delegate=yes
Environment=XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/learner
ExecStart=/lib/systemd/systemd --user --log-level=err
END
mkdir -p /home/learner/.config/systemd/user
cat >/home/learner/.config/systemd/user/default.target <<'END'
[Unit]
DefaultDependencies=no
Wants=story.service
END
cat >/home/learner/.config/systemd/user/story.service <<'END'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=XDG_RUNTIME_DIR=/run/user/1000
ExecStart=/bin/sh /home/learner/story
StandardOutput=file:/home/learner/told
StandardError=inherit
END
cat >/root/story <<'END'
ch05-cgroups scope --name machine-web.slice:cooper:one --memory 32 --pids 20 sh -c '
    group=/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup)
    cat $group/memory.max $group/pids.max'
ch05-cgroups scope --name :cooper:fails sh -c 'exit 7'
echo code $?
ch05-cgroups scope --name :cooper:oom --memory 16 sh -c 'x=x; while :; do x=$x$x; done'
echo code $?
ch05-cgroups scope --name :cooper:oom --memory 16 echo the same name again
ch05-cgroups scope --name :cooper:fails true & first=$!
wait $first
mkdir -p /root/box/rootfs/bin /root/box/rootfs/proc /root/box/rootfs/dev /root/box/rootfs/sys
cd /root/box
cp /bin/busybox rootfs/bin/sleep
cooper-runtime spec
sed -i -e 's/"terminal": true/"terminal": false/' -e 's/"sh"/"sleep", "100"/' \
    -e 's/"linux": {/"linux": {"cgroupsPath": "machine.slice:cooper:box",/' config.json
cooper-runtime --systemd-cgroup run --detach --pid-file /root/pid box
cat /proc/$(cat /root/pid)/cgroup
cooper-runtime delete --force box
echo left:
ls -d /sys/fs/cgroup/*.slice/*cooper* /sys/fs/cgroup/*.slice/*/*cooper* 2>/dev/null
touch /root/done
END
cat >/home/learner/story <<'END'
ch05-cgroups where
ch05-cgroups scope --name :cooper:mine --memory 32 --pids 20 sh -c '
    cat /proc/self/cgroup
    group=/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup)
    cat $group/memory.max $group/pids.max'
touch /home/learner/done
END
chown -R learner /home/learner
echo --- without systemd
ch05-cgroups scope true
echo --- systemd
container=vm unshare -m -p -f --mount-proc=/proc /lib/systemd/systemd --system --log-level=err --show-status=no </dev/null >/dev/null 2>&1 &
for i in $(seq 200); do [ -e /root/done ] && [ -e /home/learner/done ] && break; sleep 0.1; done
cat /root/told
echo --- the user\'s own
cat /home/learner/told
