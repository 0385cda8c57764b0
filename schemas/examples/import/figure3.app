# ipsecbpf policy import-app FILE --program appl=/usr/bin/appl --program app2=/opt/two/app2 --peer abc=203.0.113.80 --peer b=198.51.100.2
application appl, app2
{
  network 192.168.0.0/24 trusted;
  network 192.168.2.0/24 untrusted;
  network www.abc.com    protected P1;
  network 0.0.0.0/0      protected P2;
  protection P1 {
    localport=123 remoteport=any
                    encryption mandatory;
    localport=any  remoteport=any
                    authentication mandatory;
  }
  protection P2 {
    localport=any  remoteport=any
                    authentication optional;
  }
}
