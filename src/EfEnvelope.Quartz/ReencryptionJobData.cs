using System.ComponentModel;
using System.Reflection;
using Quartz;

namespace EfEnvelope.Quartz;

/// <summary>
/// <see cref="ReencryptionOptions"/> as job data: one string for each member, invariant, under the member's name. Nothing but strings, so that every serializer of a store reads it and a
/// store may keep job data as properties. What is missing has its default: a node may be older or newer than the one that scheduled.
/// </summary>
internal static class ReencryptionJobData
{
    private static readonly PropertyInfo[] Members = typeof(ReencryptionOptions).GetProperties(BindingFlags.Public | BindingFlags.Instance);

    public static IEnumerable<KeyValuePair<string, string>> Write(ReencryptionOptions options)
    {
        foreach (var member in Members)
        {
            if (member.GetValue(options) is { } value)
            {
                yield return new(member.Name, TypeDescriptor.GetConverter(member.PropertyType).ConvertToInvariantString(value)!);
            }
        }
    }

    public static ReencryptionOptions Read(JobDataMap data)
    {
        var options = new ReencryptionOptions();
        foreach (var member in Members)
        {
            if (!data.TryGetValue(member.Name, out var value))
            {
                continue;
            }

            try
            {
                member.SetValue(options, TypeDescriptor.GetConverter(member.PropertyType).ConvertFromInvariantString((string)value!));
            }
            catch (Exception error) when (error is ArgumentException or FormatException or InvalidCastException or NotSupportedException)
            {
                throw new JobExecutionException($"The job data '{member.Name}' is no {member.PropertyType.Name} in invariant form. No row was changed; schedule the job again with a right value.", error);
            }
        }

        return options;
    }
}
