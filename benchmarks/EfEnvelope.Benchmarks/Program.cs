Console.Error.WriteLine("usage: EfEnvelope.Benchmarks");
return 2;
