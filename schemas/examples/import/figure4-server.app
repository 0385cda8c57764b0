# ipsecbpf policy import-app FILE --program vsftpd=/usr/sbin/vsftpd --peer client=1.1.1.1
# Its server serves hosts without IPsec as well: the same, in option.
application vsftpd {
  network 2.2.2.0/24 trusted;
  network 0.0.0.0/0  protected P;
  protection P {
    localport=21  remoteport=any encryption optional;
    localport=any remoteport=any authentication optional;
  }
}
