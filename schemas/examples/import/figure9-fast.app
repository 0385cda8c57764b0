# ipsecbpf policy import-app FILE --program vsftpd=/usr/sbin/vsftpd --program ftp=/usr/bin/ftp --peer pc=192.168.1.2
# The right half: control is encrypted, data only authenticated, in active and in passive mode.
application vsftpd {
  network 192.168.1.0/24 protected Fast;
  network 0.0.0.0/0 trusted;
  protection Fast {
    localport=21  remoteport=any encryption mandatory;
    localport=any remoteport=any authentication mandatory;
  }
}
application ftp {
  network 192.168.1.0/24 protected Fast;
  network 0.0.0.0/0 trusted;
  protection Fast {
    localport=any remoteport=21  encryption mandatory;
    localport=any remoteport=any authentication mandatory;
  }
}
