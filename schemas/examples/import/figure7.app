# ipsecbpf policy import-app FILE --program sshd=/usr/sbin/sshd --program ssh=/usr/bin/ssh --program sftp=/usr/bin/sftp --program scp=/usr/bin/scp --peer pc=192.168.1.2
application sshd {
  network 192.168.1.0/24 protected Enh;
  network 0.0.0.0/0 trusted;
  protection Enh {
    localport=any remoteport=any
    authentication mandatory;
  }
}
application ssh, sftp, scp {
  network 192.168.1.0/24 protected Enh;
  network 0.0.0.0/0 trusted;
  protection Enh {
    localport=any remoteport=any
    authentication mandatory;
  }
}
