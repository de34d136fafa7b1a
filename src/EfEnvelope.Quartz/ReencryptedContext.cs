namespace EfEnvelope.Quartz;

/// <summary>A context as the store names it: without assembly and version, so that nodes of different versions share one job.</summary>
internal sealed record ReencryptedContext(Type Type)
{
    public const string JobDataName = "Context";

    public static string NameOf(Type type) => type.FullName ?? type.Name;
}
