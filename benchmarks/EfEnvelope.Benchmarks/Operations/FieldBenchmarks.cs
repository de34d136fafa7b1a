using BenchmarkDotNet.Attributes;
using EfEnvelope.Cryptography;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.AuthenticatedEncryption;
using Microsoft.AspNetCore.DataProtection.AuthenticatedEncryption.ConfigurationModel;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Benchmarks.Operations;

/// <summary>One value sealed or opened: both backends, the bare cipher, and ASP.NET Core Data Protection. Public and unsealed because BenchmarkDotNet derives from it.</summary>
public class FieldBenchmarks
{
    private Fields _libsodium = null!;
    private Fields _bcl = null!;
    private IDataProtector _protector = null!;
    private byte[] _protected = null!;
    private string _keys = null!;

    [Params(16, 64, 1024, 65536)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _libsodium = new Fields(CipherBackends.Select(CipherBackend.Libsodium, requireFips: false), Bytes);
        _bcl = new Fields(CipherBackends.Bcl, Bytes);
        _keys = Directory.CreateTempSubdirectory("efenvelope-dp-").FullName;
        var services = new ServiceCollection();
        services.AddDataProtection().PersistKeysToFileSystem(new DirectoryInfo(_keys))
            .UseCryptographicAlgorithms(new AuthenticatedEncryptorConfiguration { EncryptionAlgorithm = EncryptionAlgorithm.AES_256_GCM, ValidationAlgorithm = ValidationAlgorithm.HMACSHA256 });
        _protector = services.BuildServiceProvider().GetRequiredService<IDataProtectionProvider>().CreateProtector("Customer.Ssn");
        _protected = _protector.Protect(_bcl.Value);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _libsodium.Dispose();
        _bcl.Dispose();
        Directory.Delete(_keys, recursive: true);
    }

    [Benchmark, BenchmarkCategory("seal")]
    public byte[] EfEnvelope_libsodium_seal() => _libsodium.Seal();

    [Benchmark, BenchmarkCategory("seal")]
    public byte[] EfEnvelope_bcl_seal() => _bcl.Seal();

    [Benchmark, BenchmarkCategory("seal")]
    public void AesGcm_reused_seal() => _bcl.RawEncrypt();

    [Benchmark, BenchmarkCategory("seal")]
    public void AesGcm_new_seal() => _bcl.NewAesGcmEncrypt();

    [Benchmark, BenchmarkCategory("seal")]
    public byte[] DataProtection_seal() => _protector.Protect(_bcl.Value);

    [Benchmark, BenchmarkCategory("open")]
    public byte[] EfEnvelope_libsodium_open() => _libsodium.Open();

    [Benchmark, BenchmarkCategory("open")]
    public byte[] EfEnvelope_bcl_open() => _bcl.Open();

    [Benchmark, BenchmarkCategory("open")]
    public void AesGcm_reused_open() => _bcl.RawDecrypt();

    [Benchmark, BenchmarkCategory("open")]
    public byte[] DataProtection_open() => _protector.Unprotect(_protected);
}
