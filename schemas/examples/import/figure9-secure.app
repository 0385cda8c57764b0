# ipsecbpf policy import-app FILE --program vsftpd=/usr/sbin/vsftpd --program ftp=/usr/bin/ftp --peer pc=192.168.1.2
# What the paper says of the left half of Figure 9: all FTP traffic is encrypted.
application vsftpd {
  network 192.168.1.0/24 protected Secure;
  network 0.0.0.0/0 trusted;
  protection Secure {
    localport=any remoteport=any encryption mandatory;
  }
}
application ftp {
  network 192.168.1.0/24 protected Secure;
  network 0.0.0.0/0 trusted;
  protection Secure {
    localport=any remoteport=any encryption mandatory;
  }
}
