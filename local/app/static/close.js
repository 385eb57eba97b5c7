// The opener learns the result from its own server; this window has nothing left to do.
window.close();
